// SPDX-License-Identifier: Apache-2.0
#include "parser.hpp"

#include <algorithm>
#include <array>

#include "number.hpp"

namespace mserve::kdb::detail {

namespace {

bool is_letter(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
bool is_blank(char c) noexcept {
  return c == ' ' || c == '\t';
}
bool is_name_char(char c) noexcept {
  return is_letter(c) || is_digit(c) || c == '_';
}

/// `x` as the only item: a one-item vector of an atom, else a list of it.
Value one_item(Value value) {
  std::vector<Value> items;
  items.push_back(std::move(value));
  return Value::enlist_all(std::move(items));
}

std::optional<Type> type_named(std::string_view name) noexcept {
  for (std::int8_t code = 1; code < 20; ++code) {
    const auto type = static_cast<Type>(code);
    if (!name.empty() && type_name(type) == name) {
      return type;
    }
  }
  return std::nullopt;
}

/// "ab" as text, or ("ab";"c") as texts; the operand of `$.
std::optional<Value> symbols_of(const Value& value) {
  if (value.is_list()) {
    std::vector<std::string> texts;
    for (const Value& item : value.list_items()) {
      if (!(item.is_string() || item.type_code() == -10)) {
        return std::nullopt;
      }
      texts.emplace_back(*item.text_view());
    }
    return Value::symbols(std::move(texts));
  }
  return value.is_string() || value.type_code() == -10
             ? std::optional(Value::symbol(*value.text_view()))
             : std::nullopt;
}

}  // namespace

bool Parser::fail(Errc code, std::size_t offset) noexcept {
  error_ = {code, offset};
  return false;
}

bool Parser::fail_here() noexcept {
  const char c = peek();
  const bool comment = c == '/' && (position_ == 0 || is_blank(text_[position_ - 1]));
  constexpr std::string_view kStartsSomething = ";`\".:+-*%&|^=<>$,#_~!?@'/\\{[(";
  const bool known = is_letter(c) || is_digit(c) ||
                     (c != '\0' && kStartsSomething.find(c) != std::string_view::npos);
  return fail(known && !comment ? Errc::not_literal : Errc::unparsable, position_);
}

char Parser::peek() noexcept {
  while (position_ < text_.size() && is_blank(text_[position_])) {
    ++position_;
  }
  return char_at(position_);
}

bool Parser::at_end() noexcept {
  static_cast<void>(peek());
  return position_ == text_.size();
}

bool Parser::take(char c) noexcept {
  if (peek() != c || position_ == text_.size()) {
    return false;
  }
  ++position_;
  return true;
}

std::string_view Parser::name() {
  static_cast<void>(peek());
  std::size_t end = position_;
  const auto part = [&] {  // a letter, then letters, digits and _
    const bool letter = is_letter(char_at(end));
    while (letter && is_name_char(char_at(end))) {
      ++end;
    }
    return letter;
  };
  if (char_at(end) == '.') {
    ++end;
  }
  if (!part()) {
    return {};
  }
  while (char_at(end) == '.' && is_name_char(char_at(end + 1))) {
    ++end;
    while (is_name_char(char_at(end))) {
      ++end;
    }
  }
  const std::string_view found = text_.substr(position_, end - position_);
  position_ = end;
  return found;
}

bool Parser::checked(Value& value, Value made, std::size_t start) {
  if (made.is_error()) {
    return fail(made.text_view() == "limit" ? Errc::too_deep : Errc::unparsable, start);
  }
  value = std::move(made);
  return true;
}

bool Parser::expression(Value& value) {
  if (depth_left_ == 0) {
    return fail(Errc::too_deep, position_);
  }
  --depth_left_;
  const bool good = unguarded_expression(value);
  ++depth_left_;
  return good;
}

bool Parser::unguarded_expression(Value& value) {
  const char c = peek();
  const std::size_t start = position_;
  if (k_forms_ && c == ',') {
    ++position_;
    return expression(value) && checked(value, one_item(value), start);
  }
  if (k_forms_ && c == '+') {
    return flip(value);
  }
  if (text_.substr(start).starts_with("enlist") && !is_name_char(char_at(start + 6)) &&
      char_at(start + 6) != '.') {
    return enlist(value);
  }
  return noun(value) && behind_noun(value, start);
}

/// What may follow a noun: the end of the expression, or `!` and the values of a dictionary.
bool Parser::behind_noun(Value& value, std::size_t start) {
  const char c = peek();
  if (at_end() || c == ';' || c == ')' || c == ']') {
    return true;
  }
  if (c != '!') {
    return fail_here();
  }
  const std::size_t mark = position_++;
  Value values;
  if (!expression(values)) {
    return false;
  }
  if (value.is_atom() || value.is_function()) {  // 1!t keys a table: an evaluation
    return fail(Errc::not_literal, mark);
  }
  return checked(value, Value::dict(std::move(value), std::move(values)), start);
}

bool Parser::flip(Value& value) {
  const std::size_t start = position_++;
  Value names;
  Value columns;
  static_cast<void>(peek());
  if (!noun(names)) {
    return false;
  }
  if (!take('!')) {
    return fail_here();
  }
  return expression(columns) && checked(value, Value::table_from(names, columns), start);
}

bool Parser::enlist(Value& value) {
  const std::size_t start = position_;
  position_ += 6;
  if (take('[')) {
    std::vector<Value> values;
    return items(values, ']') && checked(value, Value::enlist_all(std::move(values)), start) &&
           behind_noun(value, start);
  }
  Value item;
  if (!expression(item)) {
    return false;
  }
  if (item.is_dict()) {  // q would make a table of it
    return fail(Errc::not_literal, start);
  }
  return checked(value, one_item(std::move(item)), start);
}

bool Parser::noun(Value& value) {
  const char c = peek();
  if (at_number(position_)) {
    return k_forms_ && guid_of(text_.substr(position_, 36)) ? guids(value) : numbers(value);
  }
  switch (c) {
    case '"':
      return string_or_guid(value);
    case '`':
      return symbols(value);
    case '(':
      return parentheses(value);
    case ':':
      if (char_at(position_ + 1) == ':') {
        position_ += 2;
        value = Value::null();
        return true;
      }
      break;
    default:
      if (k_forms_ && guid_of(text_.substr(std::min(position_, text_.size()), 36))) {
        return guids(value);
      }
  }
  return fail_here();
}

bool Parser::at_number(std::size_t at) const noexcept {
  if (char_at(at) == '-') {
    ++at;
  }
  return is_digit(char_at(at)) || (char_at(at) == '.' && is_digit(char_at(at + 1)));
}

/// Digits, letters, dots and colons; a sign only at the front and behind an exponent's e.
std::string_view Parser::number_word() noexcept {
  const std::size_t start = position_;
  position_ += char_at(position_) == '-' ? 1 : 0;
  for (; is_name_char(char_at(position_)) || char_at(position_) == '.' || char_at(position_) == ':';
       ++position_) {
    const char next = char_at(position_ + 1);
    if (char_at(position_) == 'e' && (next == '+' || next == '-') &&
        is_digit(char_at(position_ + 2))) {
      ++position_;
    }
  }
  return text_.substr(start, position_ - start);
}

bool Parser::numbers(Value& value) {
  const std::size_t start = position_;
  std::vector<std::string_view> words;
  for (;;) {
    words.push_back(number_word());
    const std::size_t end = position_;
    static_cast<void>(peek());
    if (position_ == end || !at_number(position_)) {
      position_ = end;
      break;
    }
  }
  std::optional<Value> made = number_value(words);
  if (!made) {
    return fail(Errc::unparsable, start);
  }
  value = *std::move(made);
  return true;
}

bool Parser::guids(Value& value) {
  std::vector<Guid> all;
  std::size_t end = position_;
  while (const std::optional<Guid> guid =
             guid_of(text_.substr(std::min(position_, text_.size()), 36))) {
    all.push_back(*guid);
    position_ += 36;
    end = position_;
    static_cast<void>(peek());
  }
  position_ = end;
  value = all.size() == 1 ? Value::guid(all[0]) : Value::guids(std::move(all));
  return true;
}

bool Parser::escape(std::string& text) {
  const char c = char_at(position_++);
  constexpr std::string_view kFrom = "nrt\"\\";
  constexpr std::string_view kTo = "\n\r\t\"\\";
  const std::size_t at = kFrom.find(c);
  if (at != std::string_view::npos) {
    text += kTo[at];
    return true;
  }
  unsigned code = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const char digit = char_at(position_ - 1 + i);
    if (digit < '0' || digit > '7') {
      return fail(Errc::unparsable, position_ - 1);
    }
    code = code * 8 + static_cast<unsigned>(digit - '0');
  }
  position_ += 2;
  text += static_cast<char>(code & 0xffU);
  return code <= 0xff || fail(Errc::unparsable, position_ - 3);
}

bool Parser::string(Value& value) {
  const std::size_t start = position_++;
  std::string text;
  while (position_ < text_.size() && text_[position_] != '"') {
    const char c = text_[position_++];
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\\') {
      if (!escape(text)) {
        return false;
      }
    } else if ((byte < 0x20 && c != '\t') || byte == 0x7f) {
      return fail(Errc::unparsable, position_ - 1);
    } else {
      text += c;
    }
  }
  if (position_ == text_.size()) {
    return fail(Errc::unparsable, start);
  }
  ++position_;
  value = text.size() == 1 ? Value::char_atom(text[0]) : Value::chars(std::move(text));
  return true;
}

/// A string, or the one cast of text that stands for a literal: "G"$"8c6b8b64-...".
bool Parser::string_or_guid(Value& value) {
  if (!string(value)) {
    return false;
  }
  const std::size_t end = position_;
  if (peek() != '$') {
    position_ = end;
    return true;
  }
  const std::size_t mark = position_++;
  const bool wanted = value.text_view() == "G" && peek() == '"';
  if (!wanted) {
    return fail(Errc::not_literal, mark);
  }
  Value text;
  if (!string(text)) {
    return false;
  }
  const std::optional<Guid> guid = guid_of(*text.text_view());
  value = Value::guid(guid.value_or(Guid{}));
  return guid.has_value() || fail(Errc::unparsable, mark);
}

bool Parser::symbols(Value& value) {
  const std::size_t start = position_;
  std::vector<std::string> all;
  while (char_at(position_) == '`') {
    const std::size_t from = ++position_;
    bool path = false;
    for (char c = char_at(position_); is_name_char(c) || c == '.' || c == ':' || (c == '/' && path);
         c = char_at(position_)) {
      path = path || c == ':';
      ++position_;
    }
    all.emplace_back(text_.substr(from, position_ - from));
  }
  const char next = char_at(position_);
  if (all.size() == 1 && next == '$') {
    return symbol_cast(value, all[0], start);
  }
  if (k_forms_ && all.size() == 1 && next == '#' && all[0].size() == 1) {
    ++position_;
    return attributed(value, all[0][0]);
  }
  value = all.size() == 1 ? Value::symbol(all[0]) : Value::symbols(std::move(all));
  return true;
}

/// Behind a symbol: `$"a b", `$("a b";"c"), `long$().
bool Parser::symbol_cast(Value& value, std::string_view name, std::size_t start) {
  const std::size_t mark = position_++;
  if (name.empty() && (peek() == '"' || peek() == '(')) {
    Value operand;
    if (!noun(operand)) {
      return false;
    }
    std::optional<Value> made = symbols_of(operand);
    if (!made) {
      return fail(Errc::not_literal, mark);
    }
    value = *std::move(made);
    return true;
  }
  const std::optional<Type> type = type_named(name);
  if (!type || !take('(') || !take(')')) {
    return fail(Errc::not_literal, mark);
  }
  return checked(value, Value::empty(*type), start);
}

/// Behind `s# and its like: everything to the right, marked.
bool Parser::attributed(Value& value, char letter) {
  const std::size_t start = position_;
  const std::size_t number = std::string_view(" supg").find(letter);
  if (number == std::string_view::npos || number == 0) {
    return fail(Errc::not_literal, start - 1);
  }
  if (!expression(value)) {
    return false;
  }
  if (value.is_dict()) {
    return checked(value, Value::sorted_dict(value.keys(), value.values()), start);
  }
  value = value.with_attribute(static_cast<Attribute>(number));
  return true;
}

bool Parser::parentheses(Value& value) {
  const std::size_t start = position_++;
  if (take('[')) {
    return table(value);
  }
  if (take(')')) {
    value = Value::list({});
    return true;
  }
  std::vector<Value> values;
  if (!items(values, ')')) {
    return false;
  }
  if (values.size() == 1) {
    value = std::move(values[0]);
    return true;
  }
  return checked(value, Value::enlist_all(std::move(values)), start);
}

/// One or more expressions between `;` up to `close`. A missing one would make a projection, so it
/// is not a literal.
bool Parser::items(std::vector<Value>& values, char close) {
  do {
    const char c = peek();
    if (c == ';' || c == close) {
      return fail(Errc::not_literal, position_);
    }
    if (!expression(values.emplace_back())) {
      return false;
    }
  } while (take(';'));
  return take(close) || fail(Errc::unparsable, position_);
}

bool Parser::table_columns(std::vector<std::string>& names, std::vector<Value>& columns,
                           char close) {
  if (take(close)) {
    return true;
  }
  do {
    const std::size_t start = position_;
    const std::string_view column = name();
    if (column.empty() || !take(':')) {
      return fail(Errc::not_literal, start);
    }
    names.emplace_back(column);
    if (!expression(columns.emplace_back())) {
      return false;
    }
  } while (take(';'));
  return take(close) || fail(Errc::unparsable, position_);
}

/// Behind `([`.
bool Parser::table(Value& value) {
  const std::size_t start = position_;
  std::array<std::vector<std::string>, 2> names;
  std::array<std::vector<Value>, 2> columns;
  if (!table_columns(names[0], columns[0], ']') || !table_columns(names[1], columns[1], ')')) {
    return false;
  }
  Value keys = Value::table(std::move(names[0]), std::move(columns[0]));
  Value rest = Value::table(std::move(names[1]), std::move(columns[1]));
  if (!keys.is_error() && keys.columns().empty()) {
    return !rest.is_error() && rest.columns().empty() ? fail(Errc::unparsable, start)
                                                      : checked(value, std::move(rest), start);
  }
  return checked(value, Value::keyed_table(std::move(keys), std::move(rest)), start);
}

}  // namespace mserve::kdb::detail
