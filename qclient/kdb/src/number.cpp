// SPDX-License-Identifier: Apache-2.0
#include "number.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string>
#include <vector>

#include "format.hpp"
#include "value_types.hpp"

namespace mserve::kdb::detail {

namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;
constexpr std::int64_t kDaySeconds = 86'400;
constexpr double kMsPerDay = 86'400'000.0;

int hex_digit(char c) noexcept {
  if (is_digit(c)) {
    return c - '0';
  }
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::optional<Type> type_of_letter(char letter) noexcept {
  constexpr std::string_view kLetters = "hijefpmdznuvtg";
  constexpr Type kTypes[] = {Type::short_int, Type::int_,      Type::long_int, Type::real,
                             Type::float_,    Type::timestamp, Type::month,    Type::date,
                             Type::datetime,  Type::timespan,  Type::minute,   Type::second,
                             Type::time,      Type::guid};
  const std::size_t at = kLetters.find(letter);
  return at == std::string_view::npos ? std::nullopt : std::optional(kTypes[at]);
}

template <class T>
std::optional<T> whole_number(std::string_view text) noexcept {
  T value{};
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size() || text.empty()) {
    return std::nullopt;
  }
  return value;
}

/// Only digits, at least one; the value, or nothing when it does not fit.
std::optional<std::int64_t> digits(std::string_view text) noexcept {
  return !text.empty() && is_digit(text[0]) ? whole_number<std::int64_t>(text) : std::nullopt;
}

std::optional<std::int64_t> two_digits(std::string_view text, std::int64_t below) noexcept {
  const std::optional<std::int64_t> value = text.size() == 2 ? digits(text) : std::nullopt;
  return value && *value < below ? value : std::nullopt;
}

/// yyyy.mm.dd
std::optional<std::int64_t> date_days(std::string_view text) noexcept {
  if (text.size() != 10 || text[4] != '.' || text[7] != '.') {
    return std::nullopt;
  }
  const auto year = digits(text.substr(0, 4));
  const auto month = two_digits(text.substr(5, 2), 13);
  const auto day = two_digits(text.substr(8, 2), 32);
  if (!year || !month || !day || *month == 0 || *day == 0) {
    return std::nullopt;
  }
  const std::int64_t days =
      days_of(*year, static_cast<unsigned>(*month), static_cast<unsigned>(*day));
  const Civil back = civil_of(days);  // the 31st of a shorter month comes back as another day
  return back.day == static_cast<unsigned>(*day) ? std::optional(days) : std::nullopt;
}

/// yyyy.mm
std::optional<std::int64_t> month_number(std::string_view text) noexcept {
  if (text.size() != 7 || text[4] != '.') {
    return std::nullopt;
  }
  const auto year = digits(text.substr(0, 4));
  const auto month = two_digits(text.substr(5, 2), 13);
  return year && month && *month != 0 ? std::optional((*year - 2000) * 12 + *month - 1)
                                      : std::nullopt;
}

/// What a clock text says; `colons` and `fraction_digits` tell which type it is.
struct Clock {
  std::int64_t seconds = 0;
  std::int64_t ns = 0;
  int colons = 0;
  std::size_t fraction_digits = 0;
};

/// hh, hh:mm, hh:mm:ss or hh:mm:ss.f (1 to 9 digits); hours may have more digits.
std::optional<Clock> clock_of(std::string_view text) noexcept {
  Clock clock;
  const std::size_t colon = text.find(':');
  const auto hours = digits(text.substr(0, colon));
  if (!hours || *hours > 3'000'000) {
    return std::nullopt;
  }
  clock.seconds = *hours * 3600;
  if (colon == std::string_view::npos) {
    return clock;
  }
  const auto minutes = two_digits(text.substr(colon + 1, 2), 60);
  std::string_view rest = text.substr(std::min(text.size(), colon + 3));
  if (!minutes) {
    return std::nullopt;
  }
  clock.seconds += *minutes * 60;
  clock.colons = 1;
  if (rest.empty()) {
    return clock;
  }
  const auto seconds =
      rest.size() >= 3 && rest[0] == ':' ? two_digits(rest.substr(1, 2), 60) : std::nullopt;
  if (!seconds) {
    return std::nullopt;
  }
  clock.seconds += *seconds;
  clock.colons = 2;
  rest.remove_prefix(3);
  if (rest.empty()) {
    return clock;
  }
  clock.fraction_digits = rest.size() - 1;
  const auto fraction = rest[0] == '.' && rest.size() <= 10 ? digits(rest.substr(1)) : std::nullopt;
  if (!fraction) {
    return std::nullopt;
  }
  clock.ns = *fraction;
  for (std::size_t i = clock.fraction_digits; i < 9; ++i) {
    clock.ns *= 10;
  }
  return clock;
}

/// days, seconds and ns as ns; nothing when that does not fit into 64 bits.
std::optional<std::int64_t> total_ns(std::int64_t days, const Clock& clock) noexcept {
  std::int64_t seconds = 0;
  std::int64_t ns = clock.ns;
  std::int64_t total = 0;
  if (__builtin_mul_overflow(days, kDaySeconds, &seconds) ||
      __builtin_add_overflow(seconds, clock.seconds, &seconds)) {
    return std::nullopt;
  }
  if (seconds <
      0) {  // the whole seconds of an early timestamp may be out of range while the sum is not
    seconds += 1;
    ns -= kSecondNs;
  }
  if (__builtin_mul_overflow(seconds, kSecondNs, &total) ||
      __builtin_add_overflow(total, ns, &total)) {
    return std::nullopt;
  }
  return total;
}

/// The part behind D or T; an empty one is midnight.
std::optional<Clock> clock_behind(std::string_view text) noexcept {
  return text.empty() ? std::optional(Clock()) : clock_of(text);
}

template <class T>
std::optional<T> narrow(std::optional<std::int64_t> value) noexcept {
  if (!value || *value < std::numeric_limits<T>::min() || *value > std::numeric_limits<T>::max()) {
    return std::nullopt;
  }
  return static_cast<T>(*value);
}

/// A word without its sign, and its type as far as the word alone tells.
struct Word {
  std::string_view body;  ///< Without sign and type letter.
  bool negative = false;
  Special special = Special::none;
  std::optional<Type> type;  ///< Empty for 0N and 0W without a letter, which take any type.
  bool suffixed = false;     ///< The type comes from a letter.
};

/// The type of an unsuffixed word, by its form.
std::optional<Type> type_by_form(std::string_view body) noexcept {
  const std::size_t day_mark = body.find('D');
  if (day_mark != std::string_view::npos) {
    return body.substr(0, day_mark).find('.') != std::string_view::npos ? Type::timestamp
                                                                        : Type::timespan;
  }
  if (body.find('T') != std::string_view::npos) {
    return Type::datetime;
  }
  if (body.find(':') != std::string_view::npos) {
    const std::optional<Clock> clock = clock_of(body);
    if (!clock) {
      return std::nullopt;
    }
    if (clock->colons == 1) {
      return Type::minute;
    }
    // q reads up to four digits behind the seconds as a time, more as a timespan.
    return clock->fraction_digits == 0   ? Type::second
           : clock->fraction_digits <= 4 ? Type::time
                                         : Type::timespan;
  }
  if (body.find_first_not_of("0123456789") == std::string_view::npos) {
    return Type::long_int;
  }
  return date_days(body) ? Type::date : Type::float_;
}

std::optional<Word> word_of(std::string_view text) noexcept {
  Word word;
  word.negative = !text.empty() && text[0] == '-';
  word.body = text.substr(word.negative ? 1 : 0);
  if (word.body.empty()) {
    return std::nullopt;
  }
  if (word.body.size() >= 2 && word.body[0] == '0' &&
      std::string_view("NnWw").find(word.body[1]) != std::string_view::npos) {
    const bool null = (word.body[1] | 0x20) == 'n';
    word.special = null            ? Special::null
                   : word.negative ? Special::minus_infinity
                                   : Special::infinity;
    word.suffixed = word.body.size() == 3;
    if (word.suffixed) {
      word.type = type_of_letter(word.body[2]);
    } else if ((word.body[1] & 0x20) != 0) {
      word.type = Type::float_;
    }
    const bool sound =
        word.body.size() <= 3 && (!word.suffixed || word.type) && !(null && word.negative);
    return sound ? std::optional(word) : std::nullopt;
  }
  const char last = word.body.back();
  if (!is_digit(last) && last != '.' && last != 'D' && last != 'T') {
    word.type = type_of_letter(last);
    word.suffixed = true;
    word.body.remove_suffix(1);
  } else {
    word.type = type_by_form(word.body);
  }
  return word.type ? std::optional(word) : std::nullopt;
}

std::optional<std::int32_t> small_temporal(Type type, const Word& word) noexcept {
  const std::int64_t sign = word.negative ? -1 : 1;
  if (type == Type::date || type == Type::month) {
    return word.negative ? std::nullopt
                         : narrow<std::int32_t>(type == Type::date ? date_days(word.body)
                                                                   : month_number(word.body));
  }
  const std::optional<Clock> clock = clock_of(word.body);
  if (!clock || clock->colons != (type == Type::minute ? 1 : 2)) {
    return std::nullopt;
  }
  switch (type) {
    case Type::minute:
      return narrow<std::int32_t>(sign * (clock->seconds / 60));
    case Type::second:
      return clock->fraction_digits != 0 ? std::nullopt
                                         : narrow<std::int32_t>(sign * clock->seconds);
    default:
      return narrow<std::int32_t>(sign * (clock->seconds * 1000 + clock->ns / 1'000'000));
  }
}

std::optional<std::int64_t> large_temporal(Type type, const Word& word) noexcept {
  const std::size_t mark = word.body.find('D');
  const bool marked = mark != std::string_view::npos;
  const std::optional<Clock> clock =
      marked ? clock_behind(word.body.substr(mark + 1)) : clock_of(word.body);
  std::optional<std::int64_t> days = 0;
  if (marked) {
    const std::string_view front = word.body.substr(0, mark);
    days = type == Type::timestamp ? date_days(front) : digits(front);
  }
  if (!clock || !days || (type == Type::timestamp && (!marked || word.negative))) {
    return std::nullopt;
  }
  const std::optional<std::int64_t> ns = total_ns(*days, *clock);
  return ns && word.negative ? std::optional(-*ns) : ns;
}

std::optional<double> datetime_days(const Word& word) noexcept {
  const std::size_t mark = word.body.find('T');
  if (mark == std::string_view::npos || word.negative) {
    return std::nullopt;
  }
  const std::optional<std::int64_t> days = date_days(word.body.substr(0, mark));
  const std::optional<Clock> clock = clock_behind(word.body.substr(mark + 1));
  if (!days || !clock) {
    return std::nullopt;
  }
  const std::int64_t ms =
      *days * kDaySeconds * 1000 + clock->seconds * 1000 + clock->ns / 1'000'000;
  return static_cast<double>(ms) / kMsPerDay;
}

/// An integer or floating-point numeral in decimal; from_chars alone would also take "inf" and
/// "nan".
template <class T>
std::optional<T> numeral(const Word& word) noexcept {
  if (word.body.empty() ||
      !(is_digit(word.body[0]) || (word.body[0] == '.' && word.body.size() > 1))) {
    return std::nullopt;
  }
  if constexpr (std::is_floating_point_v<T>) {
    const std::optional<T> value = whole_number<T>(word.body);
    return value && word.negative ? std::optional(-*value) : value;
  } else {
    const std::string_view text =
        word.negative ? std::string_view(word.body.data() - 1, word.body.size() + 1) : word.body;
    return whole_number<T>(text);
  }
}

template <class T>
T special_value(Special special) noexcept {
  if constexpr (std::is_floating_point_v<T>) {
    const T infinity = std::numeric_limits<T>::infinity();
    const T null = -std::numeric_limits<T>::quiet_NaN();
    return special == Special::null ? null : special == Special::infinity ? infinity : -infinity;
  } else {
    const T largest = std::numeric_limits<T>::max();
    return special == Special::null       ? std::numeric_limits<T>::min()
           : special == Special::infinity ? largest
                                          : static_cast<T>(-largest);
  }
}

/// The word read as an item of `type`.
template <class T>
std::optional<T> item_of(Type type, const Word& word) {
  if constexpr (std::is_same_v<T, Guid>) {
    return word.special == Special::null ? std::optional(Guid{}) : std::nullopt;
  } else if constexpr (std::is_arithmetic_v<T> && !std::is_same_v<T, char> &&
                       !std::is_same_v<T, std::uint8_t>) {
    if (word.special != Special::none) {
      return special_value<T>(word.special);
    }
    if constexpr (std::is_same_v<T, std::int32_t>) {
      if (type != Type::int_) {
        return small_temporal(type, word);
      }
    }
    if constexpr (std::is_same_v<T, std::int64_t>) {
      if (type != Type::long_int) {
        return large_temporal(type, word);
      }
    }
    if constexpr (std::is_same_v<T, double>) {
      if (type == Type::datetime) {
        return datetime_days(word);
      }
    }
    return numeral<T>(word);
  } else {
    return std::nullopt;
  }
}

bool is_numeric(Type type) noexcept {
  return type >= Type::short_int && type <= Type::float_;
}

/// The type of the whole: a letter on the last word decides, else a temporal, else the widest
/// number. Empty: they clash.
std::optional<Type> common_type(std::span<const Word> words) noexcept {
  std::optional<Type> type = words.back().suffixed ? words.back().type : std::nullopt;
  for (const Word& word : words) {
    if (!word.type) {
      continue;
    }
    if (!type) {
      type = word.type;
    } else if (*word.type != *type) {
      const bool both_numeric = is_numeric(*type) && is_numeric(*word.type);
      // 2024.01 looks like a float until the m of the last word is seen.
      const bool month = *type == Type::month && *word.type == Type::float_;
      if (word.suffixed || !(both_numeric || month)) {
        return std::nullopt;
      }
      if (!words.back().suffixed && *type == Type::long_int) {
        type = word.type;
      }
    }
  }
  return type ? type : std::optional(Type::long_int);
}

std::optional<Value> hex_bytes(std::string_view text) {
  text.remove_prefix(2);
  std::vector<std::uint8_t> bytes;
  if (text.size() % 2 != 0 && text.size() != 1) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = text.size() == 1 ? 0 : hex_digit(text[i]);
    const int low = hex_digit(text.size() == 1 ? text[i] : text[i + 1]);
    if (high < 0 || low < 0) {
      return std::nullopt;
    }
    bytes.push_back(static_cast<std::uint8_t>(high * 16 + low));
  }
  return bytes.size() == 1 ? Value::byte(bytes[0]) : Value::bytes(std::move(bytes));
}

std::optional<Value> booleans(std::string_view text) {
  text.remove_suffix(1);
  std::vector<std::uint8_t> values;
  for (const char c : text) {
    if (c != '0' && c != '1') {
      return std::nullopt;
    }
    values.push_back(static_cast<std::uint8_t>(c - '0'));
  }
  if (values.empty()) {
    return std::nullopt;
  }
  return values.size() == 1 ? Value::boolean(values[0] != 0) : Value::booleans(std::move(values));
}

}  // namespace

std::optional<Guid> guid_of(std::string_view text) noexcept {
  Guid guid{};
  std::size_t at = 0;
  if (text.size() != 36) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < text.size();) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text[i++] != '-') {
        return std::nullopt;
      }
      continue;
    }
    const int high = hex_digit(text[i]);
    const int low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0) {
      return std::nullopt;
    }
    guid[at++] = static_cast<std::uint8_t>(high * 16 + low);
    i += 2;
  }
  return guid;
}

std::optional<Value> number_value(std::span<const std::string_view> texts) {
  if (texts.size() == 1 && texts[0].starts_with("0x")) {
    return hex_bytes(texts[0]);
  }
  if (texts.size() == 1 && texts[0].ends_with('b')) {
    return booleans(texts[0]);
  }
  std::vector<Word> words;
  for (const std::string_view text : texts) {
    const std::optional<Word> word = word_of(text);
    if (!word) {
      return std::nullopt;
    }
    words.push_back(*word);
  }
  const std::optional<Type> type = common_type(words);
  if (!type) {
    return std::nullopt;
  }
  return with_storage(*type, std::optional<Value>(),
                      [&]<class T>(std::type_identity<T>) -> std::optional<Value> {
                        std::vector<T> items;
                        items.reserve(words.size());
                        for (const Word& word : words) {
                          std::optional<T> item = item_of<T>(*type, word);
                          if (!item) {
                            return std::nullopt;
                          }
                          items.push_back(*std::move(item));
                        }
                        return items.size() == 1 ? Value::atom_of(*type, items[0])
                                                 : Value::vector_of(*type, std::move(items));
                      });
}

}  // namespace mserve::kdb::detail
