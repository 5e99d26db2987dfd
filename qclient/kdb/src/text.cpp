// SPDX-License-Identifier: Apache-2.0
#include "text.hpp"

#include <algorithm>
#include <cstring>

#include "mserve/kdb/codec.hpp"
#include "mserve/kdb/print.hpp"
#include "mserve/kdb/skip.hpp"
#include "value_types.hpp"

namespace mserve::kdb {

namespace detail {

namespace {

/// k's verbs by the code byte of types 101 and 102; unary ones carry a colon.
constexpr std::string_view kVerbs[] = {":", "+", "-", "*", "%", "&", "|", "^", "=", "<",
                                       ">", "$", ",", "#", "_", "~", "!", "?", "@", "."};
constexpr std::string_view kIterators[] = {"'", "/", "\\", "':", "/:", "\\:"};

/// The letter that tells the type behind a number or a vector of numbers; 0 for none.
char suffix_of(Type type) noexcept {
  switch (type) {
    case Type::short_int:
      return 'h';
    case Type::int_:
      return 'i';
    case Type::real:
      return 'e';
    case Type::month:
      return 'm';
    default:
      return 0;
  }
}

/// Whether the bare texts of floats need the letter f, or of temporals their own, to be told apart.
template <class T>
char needed_suffix(Type type, std::string_view bare, const T& last) noexcept {
  if (type == Type::float_) {
    return bare.find_first_of(".enw") == std::string_view::npos ? 'f' : char{0};
  }
  if (suffix_of(type) != 0 || type == Type::long_int) {
    return suffix_of(type);
  }
  return special_of(last) != Special::none ? type_letter(type) : char{0};
}

}  // namespace

void TextWriter::quoted(std::string_view text) {
  // Quoting only grows a text, so nothing behind the limit can be seen.
  const bool cut = text.size() > bytes_max_;
  append_quoted(out_, cut ? text.substr(0, bytes_max_ + 1) : text);
}

void TextWriter::attribute(const Value& value) {
  constexpr char kLetters[] = " supg";
  const auto number = static_cast<unsigned>(value.attribute());
  if (number >= 1 && number <= 4) {
    out_ += '`';
    out_ += kLetters[number];
    out_ += '#';
  }
}

template <class T>
void TextWriter::number_items(Type type, std::span<const T> items) {
  const std::size_t start = out_.size();
  for (std::size_t i = 0; i < items.size() && !full(); ++i) {
    if (i != 0) {
      out_ += ' ';
    }
    append_item(out_, type, items[i], style_);
  }
  const char letter = needed_suffix(type, std::string_view(out_).substr(start), items.back());
  if (letter != 0) {
    out_ += letter;
  }
}

void TextWriter::symbols(std::span<const std::string> items) {
  const bool odd = style_.readable &&
                   !std::all_of(items.begin(), items.end(),
                                [](const std::string& item) { return is_plain_symbol(item); });
  if (odd) {
    out_ += items.size() == 1 ? "`$" : "`$(";
  }
  for (std::size_t i = 0; i < items.size() && !full(); ++i) {
    if (odd) {
      out_ += i != 0 ? ";" : "";
      out_ += items.size() != 1 && items[i].size() == 1
                  ? ","
                  : "";  // a lone char would join its neighbours
      quoted(items[i]);
    } else {
      out_ += '`';
      append_plain(out_, std::string_view(items[i]).substr(0, bytes_max_ + 1));
    }
  }
  if (odd && items.size() != 1) {
    out_ += ')';
  }
}

void TextWriter::atom(const Value& value) {
  const Type type = value.type();
  with_storage(type, false, [&]<class T>(std::type_identity<T>) {
    const std::span<const T> one(value.as<T>(), 1);
    if constexpr (std::is_same_v<T, std::string>) {
      symbols(one);
    } else if constexpr (std::is_same_v<T, char>) {
      quoted({one.data(), 1});
    } else if constexpr (std::is_same_v<T, std::uint8_t>) {
      out_ += type == Type::byte ? "0x" : "";
      append_item(out_, type, one[0], style_);
      out_ += type == Type::boolean ? "b" : "";
    } else if constexpr (std::is_same_v<T, Guid>) {
      append_item(out_, type, one[0], style_);
    } else {
      number_items(type, one);
    }
    return true;
  });
}

void TextWriter::vector(const Value& value) {
  const Type type = value.type();
  attribute(value);
  if (value.count() == 0 && type != Type::character) {
    out_ += '`';
    out_ += type_name(type);
    out_ += "$()";
    return;
  }
  if (value.count() == 1) {
    out_ += ',';
    atom(value.at(0));
    return;
  }
  with_storage(type, false, [&]<class T>(std::type_identity<T>) {
    const std::span<const T> items = value.items<T>();
    if constexpr (std::is_same_v<T, std::string>) {
      symbols(items);
    } else if constexpr (std::is_same_v<T, char>) {
      quoted({items.data(), items.size()});
    } else if constexpr (std::is_same_v<T, std::uint8_t>) {
      out_ += type == Type::byte ? "0x" : "";
      for (std::size_t i = 0; i < items.size() && !full(); ++i) {
        append_item(out_, type, items[i], style_);
      }
      out_ += type == Type::boolean ? "b" : "";
    } else if constexpr (std::is_same_v<T, Guid>) {
      for (std::size_t i = 0; i < items.size() && !full(); ++i) {
        out_ += i != 0 ? " " : "";
        append_item(out_, type, items[i], style_);
      }
    } else {
      number_items(type, items);
    }
    return true;
  });
}

void TextWriter::list(const Value& value) {
  attribute(value);
  const std::span<const Value> items = value.list_items();
  if (items.size() == 1) {
    out_ += ',';
    this->value(items[0]);
    return;
  }
  out_ += '(';
  for (std::size_t i = 0; i < items.size() && !full(); ++i) {
    out_ += i != 0 ? ";" : "";
    this->value(items[i]);
  }
  out_ += ')';
}

void TextWriter::parenthesised(const Value& value) {
  // Read right to left, only these would take what follows them as their own operand.
  const bool odd_symbols = style_.readable && value.type() == Type::symbol;
  const bool needed =
      value.is_table() || value.is_dict() || value.is_function() ||
      value.attribute() != Attribute::none || odd_symbols ||
      ((value.is_vector() || value.is_list()) && value.count() <= 1 && !value.is_string()) ||
      (value.is_string() && value.count() == 1);
  const bool plain_symbols =
      odd_symbols && value.attribute() == Attribute::none && value.count() > 1 &&
      std::all_of(value.items<std::string>().begin(), value.items<std::string>().end(),
                  [](const std::string& item) { return is_plain_symbol(item); });
  if (!needed || plain_symbols) {
    this->value(value);
    return;
  }
  out_ += '(';
  this->value(value);
  out_ += ')';
}

void TextWriter::dict(const Value& keys, const Value& values) {
  parenthesised(keys);
  out_ += '!';
  value(values);
}

void TextWriter::projection(std::span<const std::byte> bytes, bool composition) {
  std::size_t offset = 5;
  std::uint32_t count = 0;
  std::memcpy(&count, bytes.data() + 1, sizeof(count));
  for (std::uint32_t i = 0; i < count && !full(); ++i) {
    const std::span<const std::byte> rest = bytes.subspan(offset);
    const Result<std::size_t> size = skip(rest);
    if (!size) {
      return;
    }
    const std::span<const std::byte> part = rest.first(*size);
    const bool elided = part.size() == 2 && part[0] == std::byte{101} && part[1] == std::byte{0xff};
    const Result<Value> decoded = decode(part);
    if (!composition && i != 0) {
      out_ += i == 1 ? '[' : ';';
    }
    if (decoded && !elided) {
      value(*decoded);
    }
    offset += *size;
  }
  if (!composition && count > 1) {
    out_ += ']';
  }
}

void TextWriter::function(const Value& value) {
  const std::span<const std::byte> bytes = value.function_bytes();
  const auto code = std::to_integer<unsigned>(bytes[1]);
  const auto type = std::to_integer<unsigned>(bytes[0]);
  if (type == 100) {
    const auto* text = reinterpret_cast<const char*>(bytes.data());
    const Result<Value> source = decode(bytes.subspan(1 + std::strlen(text + 1) + 1));
    if (source) {
      append_plain(out_, source->text_view()->substr(0, bytes_max_ + 1));
    }
  } else if (type == 101 && code < std::size(kVerbs)) {
    out_ += code == 0 ? "" : kVerbs[code];
    out_ += code == 0 ? "::" : ":";
  } else if (type == 102 && code < std::size(kVerbs)) {
    out_ += kVerbs[code];
  } else if (type == 103 && code < std::size(kIterators)) {
    out_ += kIterators[code];
  } else if (type <= 103) {
    out_ += "<primitive " + std::to_string(type) + ' ' + std::to_string(code) + '>';
  } else if (type <= 105) {
    projection(bytes, type == 105);
  } else {
    const Result<Value> inner = decode(bytes.subspan(1));
    if (inner) {
      this->value(*inner);
    }
    out_ += kIterators[type - 106];
  }
}

void TextWriter::value(const Value& value) {
  if (full()) {
    return;
  }
  if (value.is_atom()) {
    atom(value);
  } else if (value.is_vector()) {
    vector(value);
  } else if (value.is_list()) {
    list(value);
  } else if (value.is_function()) {
    function(value);
  } else if (value.is_error()) {
    out_ += '\'';
    append_plain(out_, value.text_view()->substr(0, bytes_max_ + 1));
  } else {
    out_ += value.is_table() ? "+" : value.type_code() == 127 ? "`s#" : "";
    dict(value.keys(), value.values());
  }
}

std::string cell(const Value& column, std::size_t index, const Style& style,
                 std::size_t bytes_max) {
  if (!column.is_vector()) {
    TextWriter writer(style, bytes_max);
    writer.value(column.at(index));
    return std::move(writer).take();
  }
  std::string out;
  with_storage(column.type(), false, [&]<class T>(std::type_identity<T>) {
    const T& item = column.items<T>()[index];
    if constexpr (std::is_same_v<T, std::string>) {
      append_plain(out, std::string_view(item).substr(0, bytes_max));
    } else if (special_of(item) != Special::null) {
      append_item(out, column.type(), item, style);
    }
    return true;
  });
  return out;
}

}  // namespace detail

std::string text(const Value& value) {
  return text(value, ~std::size_t{0} - 2);
}

std::string text(const Value& value, std::size_t bytes_max) {
  detail::TextWriter writer({0, true}, bytes_max);
  writer.value(value);
  const bool cut = writer.full();
  std::string out = std::move(writer).take();
  if (cut) {
    out.resize(bytes_max);
    out += "..";
  }
  return out;
}

}  // namespace mserve::kdb
