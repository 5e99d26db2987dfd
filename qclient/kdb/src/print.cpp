// SPDX-License-Identifier: Apache-2.0
// The console: lines cut at the width, output cut at the height, tables and dictionaries aligned.
#include "mserve/kdb/print.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "text.hpp"
#include "value_types.hpp"

namespace mserve::kdb {

namespace {

using detail::cell;
using detail::Style;
using detail::TextWriter;

/// Collects lines, cuts each at the width, and knows how many still fit.
class Screen {
 public:
  explicit Screen(const Console& console)
      : width_(std::clamp<std::size_t>(console.width, 10, 2000)),
        // q leaves two lines for the prompt.
        lines_max_(std::clamp<std::size_t>(console.height, 10, 2000) - 2),
        style_{console.precision > 0 ? std::min(console.precision, 17) : 17, false} {}

  [[nodiscard]] const Style& style() const noexcept { return style_; }
  [[nodiscard]] std::size_t width() const noexcept { return width_; }

  /// How many of `count` items to show, one per line below `header` lines: all, or as many as leave
  /// room for `..`.
  [[nodiscard]] std::size_t lines_for(std::size_t count, std::size_t header) const noexcept {
    return header + count <= lines_max_ ? count : lines_max_ - header - 1;
  }

  void line(std::string text) {
    if (text.size() >= width_) {
      std::size_t cut = width_ - 3;
      while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xc0U) == 0x80U) {
        --cut;  // never in the middle of a UTF-8 sequence
      }
      text.resize(cut);
      text += "..";
    }
    out_ += text;
    out_ += '\n';
  }

  void more(std::size_t shown, std::size_t count) {
    if (shown < count) {
      out_ += "..\n";
    }
  }

  [[nodiscard]] std::string text_of(const Value& value) const {
    TextWriter writer(style_, width_);
    writer.value(value);
    return std::move(writer).take();
  }

  [[nodiscard]] std::string take() && noexcept { return std::move(out_); }

 private:
  std::size_t width_;
  std::size_t lines_max_;
  Style style_;
  std::string out_;
};

/// Columns of cells, each padded to its widest; one side of the bar of a dictionary or keyed table,
/// or a whole table.
struct Block {
  bool headed = false;
  std::string header;
  std::vector<std::string> rows;
  std::size_t width = 0;
};

void append_column(Block& block, const std::string& header, const std::vector<std::string>& cells,
                   bool pad) {
  std::size_t width = header.size();
  for (const std::string& text : cells) {
    width = std::max(width, text.size());
  }
  const auto join = [&](std::string& line, const std::string& text) {
    line += block.width != 0 ? " " : "";
    line += text;
    line.append(pad ? width - text.size() : 0, ' ');
  };
  join(block.header, header);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    join(block.rows[i], cells[i]);
  }
  block.width += width + (block.width != 0 ? 1 : 0);
}

std::vector<std::string> cells_of(const Value& column, std::size_t rows, const Screen& screen) {
  std::vector<std::string> cells;
  cells.reserve(rows);
  for (std::size_t i = 0; i < rows; ++i) {
    cells.push_back(cell(column, i, screen.style(), screen.width()));
  }
  return cells;
}

Block block_of(const Value& value, std::size_t rows, bool pad, const Screen& screen) {
  Block block;
  block.rows.resize(rows);
  if (!value.is_table()) {
    append_column(block, "", cells_of(value, rows, screen), pad);
    return block;
  }
  block.headed = true;
  for (std::size_t i = 0; i < value.columns().size() && block.width < screen.width(); ++i) {
    std::string header;
    detail::append_plain(header, std::string_view(value.names()[i]).substr(0, screen.width()));
    append_column(block, header, cells_of(value.columns()[i], rows, screen), true);
  }
  return block;
}

void show_table(const Value& table, Screen& screen) {
  if (table.is_splayed()) {
    screen.line(screen.text_of(table));
    return;
  }
  const std::size_t rows = screen.lines_for(table.count(), 2);
  Block block = block_of(table, rows, true, screen);
  screen.line(std::move(block.header));
  screen.line(std::string(block.width, '-'));
  for (std::string& row : block.rows) {
    screen.line(std::move(row));
  }
  screen.more(rows, table.count());
}

void show_dict(const Value& dict, Screen& screen) {
  const bool headed = dict.keys().is_table() || dict.values().is_table();
  const std::size_t count = dict.count();
  const std::size_t rows = screen.lines_for(count, headed ? 2 : 0);
  const Block keys = block_of(dict.keys(), rows, true, screen);
  const Block values = block_of(dict.values(), rows, headed, screen);
  if (headed) {
    std::string header = keys.header;
    screen.line((header += "| ") += values.header);
    std::string rule(keys.width, '-');
    screen.line((rule += "| ") += std::string(values.width, '-'));
  }
  for (std::size_t i = 0; i < rows; ++i) {
    std::string line = keys.rows[i];
    screen.line((line += "| ") += values.rows[i]);
  }
  screen.more(rows, count);
}

/// A list of vectors of one type and length (numbers, temporals, guids or symbols) is shown as an
/// aligned matrix.
bool is_matrix(std::span<const Value> items) noexcept {
  const Value& first = items.front();
  if (!first.is_vector() || first.count() == 0 || first.type() == Type::character ||
      first.type() == Type::boolean || first.type() == Type::byte) {
    return false;
  }
  return std::all_of(items.begin(), items.end(), [&first](const Value& item) {
    return item.type_code() == first.type_code() && item.count() == first.count();
  });
}

/// Item of a matrix: bare, but nulls are written, since a blank would be lost.
std::string matrix_item(const Value& vector, std::size_t index, const Style& style) {
  std::string out;
  detail::with_storage(vector.type(), false, [&]<class T>(std::type_identity<T>) {
    detail::append_item(out, vector.type(), vector.items<T>()[index], style);
    return true;
  });
  return out;
}

void show_matrix(std::span<const Value> items, std::size_t rows, Screen& screen) {
  Block block;
  block.rows.resize(rows);
  for (std::size_t column = 0; column < items.front().count() && block.width < screen.width();
       ++column) {
    std::vector<std::string> cells;
    for (std::size_t i = 0; i < rows; ++i) {
      cells.push_back(matrix_item(items[i], column, screen.style()));
    }
    append_column(block, "", cells, true);
  }
  for (std::string& row : block.rows) {
    screen.line(std::move(row));
  }
}

void show_list(const Value& list, Screen& screen) {
  const std::span<const Value> items = list.list_items();
  if (items.size() < 2) {
    screen.line(screen.text_of(list));
    return;
  }
  const std::size_t rows = screen.lines_for(items.size(), 0);
  if (is_matrix(items.first(rows))) {
    show_matrix(items, rows, screen);
  } else {
    for (std::size_t i = 0; i < rows; ++i) {
      screen.line(screen.text_of(items[i]));
    }
  }
  screen.more(rows, items.size());
}

}  // namespace

std::string show(const Value& value, const Console& console) {
  Screen screen(console);
  if (value.is_table()) {
    show_table(value, screen);
  } else if (value.is_dict()) {
    show_dict(value, screen);
  } else if (value.is_list()) {
    show_list(value, screen);
  } else if (!value.is_null()) {
    screen.line(screen.text_of(value));
  }
  return std::move(screen).take();
}

}  // namespace mserve::kdb
