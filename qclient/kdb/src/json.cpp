// SPDX-License-Identifier: Apache-2.0
#include "mserve/kdb/json.hpp"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/string.hpp>

#include "format.hpp"
#include "mserve/kdb/print.hpp"
#include "mserve/kdb/utf8.hpp"
#include "value_types.hpp"

namespace mserve::kdb {

namespace {

using detail::Special;
using detail::special_of;

/// The text as UTF-8: bytes that are none stand for the Latin-1 character of the same number.
std::string as_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t size = utf8_sequence(text);
    if (size != 0) {
      out += text.substr(0, size);
      text.remove_prefix(size);
      continue;
    }
    const auto byte = static_cast<unsigned char>(text[0]);
    out += static_cast<char>(0xc0U | (byte >> 6U));
    out += static_cast<char>(0x80U | (byte & 0x3fU));
    text.remove_prefix(1);
  }
  return out;
}

/// yyyy.mm.dd becomes yyyy-mm-dd and D becomes T; the fraction behind the time keeps its dot.
std::string iso(Type type, std::string text) {
  const std::size_t dots = type == Type::month ? 1 : 2;
  if (type == Type::month || type == Type::date || type == Type::timestamp ||
      type == Type::datetime) {
    std::size_t at = 0;
    for (std::size_t i = 0; i < dots && (at = text.find('.', at)) != std::string::npos; ++i) {
      text[at] = '-';
    }
    if (type == Type::timestamp) {
      std::replace(text.begin(), text.end(), 'D', 'T');
    }
  }
  return text;
}

class JsonWriter {
 public:
  void value(const Value& value);
  [[nodiscard]] std::string take() && noexcept { return std::move(out_); }

 private:
  void quoted(std::string_view text) {
    const std::string utf8 = as_utf8(text);
    const std::string json =
        boost::json::serialize(boost::json::string_view(utf8.data(), utf8.size()));
    // Boost writes C1 controls as they are, and terminals obey them.
    constexpr std::string_view kDigits = "0123456789abcdef";
    for (std::size_t i = 0; i < json.size(); ++i) {
      const auto byte = static_cast<unsigned char>(json[i]);
      const auto second = byte == 0xc2 ? static_cast<unsigned char>(json[i + 1]) : 0xffU;
      if (second < 0xa0) {
        out_.append("\\u00").append({kDigits[second >> 4U], kDigits[second & 15U]});
        ++i;
      } else {
        out_ += json[i];
      }
    }
  }

  template <class T>
  void item(Type type, const T& item);
  void vector(const Value& value);
  void list(const Value& value);
  void dict(const Value& value);
  void rows(const Value* keys, const Value& values);
  void fields(const Value& table, std::size_t row, bool first);
  void element(const Value& column, std::size_t index);
  void function(const Value& value);

  std::string out_;
};

template <class T>
void JsonWriter::item(Type type, const T& item) {
  if constexpr (std::is_same_v<T, std::string>) {
    quoted(item);
  } else if constexpr (std::is_same_v<T, char>) {
    quoted({&item, 1});
  } else if constexpr (std::is_same_v<T, std::uint8_t>) {
    out_ += type == Type::boolean ? (item != 0 ? "true" : "false") : std::to_string(item);
  } else {
    std::string text;
    detail::append_item(text, type, item, {0, false});
    const Special special = special_of(item);
    const bool temporal = type >= Type::timestamp;
    if (special == Special::null) {
      out_ += "null";
    } else if (special != Special::none) {
      quoted(temporal ? text + type_letter(type) : text);
    } else if (temporal || std::is_same_v<T, Guid>) {
      quoted(iso(type, std::move(text)));
    } else {
      out_ += text;
    }
  }
}

/// Item `index` without making a Value of it where the column is a plain vector.
void JsonWriter::element(const Value& column, std::size_t index) {
  const bool done = column.is_vector() &&
                    detail::with_storage(column.type(), false, [&]<class T>(std::type_identity<T>) {
                      item(column.type(), column.items<T>()[index]);
                      return true;
                    });
  if (!done) {
    value(column.at(index));
  }
}

void JsonWriter::vector(const Value& value) {
  if (value.is_string()) {
    quoted(*value.text_view());
    return;
  }
  list(value);
}

void JsonWriter::list(const Value& value) {
  out_ += '[';
  for (std::size_t i = 0; i < value.count(); ++i) {
    out_ += i != 0 ? "," : "";
    element(value, i);
  }
  out_ += ']';
}

void JsonWriter::fields(const Value& table, std::size_t row, bool first) {
  for (std::size_t i = 0; i < table.columns().size(); ++i) {
    out_ += first && i == 0 ? "" : ",";
    quoted(table.names()[i]);
    out_ += ':';
    element(table.columns()[i], row);
  }
}

void JsonWriter::rows(const Value* keys, const Value& values) {
  out_ += '[';
  for (std::size_t row = 0; row < values.count(); ++row) {
    out_ += row != 0 ? ",{" : "{";
    if (keys != nullptr) {
      fields(*keys, row, true);
    }
    fields(values, row, keys == nullptr || keys->columns().empty());
    out_ += '}';
  }
  out_ += ']';
}

void JsonWriter::dict(const Value& value) {
  if (value.is_keyed_table()) {
    rows(&value.keys(), value.values());
    return;
  }
  out_ += '{';
  for (std::size_t i = 0; i < value.count(); ++i) {
    out_ += i != 0 ? "," : "";
    const Value key = value.keys().at(i);
    const bool textual = key.type_code() == -11 || key.type_code() == -10 || key.is_string();
    quoted(textual ? std::string(*key.text_view()) : text(key));
    out_ += ':';
    element(value.values(), i);
  }
  out_ += '}';
}

void JsonWriter::function(const Value& value) {
  if (value.is_null()) {
    out_ += "null";
  } else {
    quoted(text(value));
  }
}

void JsonWriter::value(const Value& value) {
  if (value.is_atom()) {
    detail::with_storage(value.type(), false, [&]<class T>(std::type_identity<T>) {
      item(value.type(), *value.as<T>());
      return true;
    });
  } else if (value.is_vector()) {
    vector(value);
  } else if (value.is_list()) {
    list(value);
  } else if (value.is_dict()) {
    dict(value);
  } else if (value.is_splayed()) {
    quoted(text(value));
  } else if (value.is_table()) {
    rows(nullptr, value);
  } else if (value.is_error()) {
    out_ += "{\"error\":";
    quoted(*value.text_view());
    out_ += '}';
  } else {
    function(value);
  }
}

}  // namespace

std::string to_json(const Value& value) {
  JsonWriter writer;
  writer.value(value);
  return std::move(writer).take();
}

std::string json_string(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const std::string utf8 = as_utf8(text);
  std::string out = "\"";
  for (std::size_t i = 0; i < utf8.size(); ++i) {
    const auto byte = static_cast<unsigned char>(utf8[i]);
    const bool c1 = byte == 0xc2 && static_cast<unsigned char>(utf8[i + 1]) < 0xa0;
    if (byte < ' ' || byte == 0x7f || c1) {
      const auto code = c1 ? static_cast<unsigned char>(utf8[++i]) : byte;
      out += "\\u00";
      out += kDigits[code >> 4U];
      out += kDigits[code & 15U];
    } else if (byte == '"' || byte == '\\') {
      out += {'\\', utf8[i]};
    } else {
      out += utf8[i];
    }
  }
  return out + "\"";
}

}  // namespace mserve::kdb
