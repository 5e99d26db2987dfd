// SPDX-License-Identifier: Apache-2.0
#include "vectors.hpp"

#include <boost/json.hpp>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace mserve::test {

namespace {

namespace json = boost::json;

std::string text_of(const json::object& object, const char* key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

Vector read_vector(const json::object& object) {
  Vector vector;
  vector.id = text_of(object, "id");
  vector.q = text_of(object, "q");
  vector.kind = text_of(object, "kind");
  vector.bytes = from_hex(text_of(object, "hex"));
  vector.decodes_to = text_of(object, "decodes_to");
  for (const json::value& maker : object.at("made_by").as_array()) {
    vector.made_by_javakdb |= maker.as_string() == "javakdb";
    vector.recorded_from_q |= maker.as_string() == "recorded_q";
  }
  if (const json::value* alternatives = object.if_contains("alternatives")) {
    for (const json::value& other : alternatives->as_array()) {
      vector.alternatives.push_back(from_hex(text_of(other.as_object(), "hex")));
    }
  }
  return vector;
}

std::string path_of_vectors() {
  const char* folder = std::getenv("MSERVE_SHARED_DIR");
  if (folder != nullptr) {
    return std::string(folder) + "/vectors.json";
  }
  // This file is tests/protocol/vectors.cpp; the folder is a sibling of the checkout.
  const std::string here = __FILE__;
  const std::size_t cut = here.rfind("/tests/protocol/");
  return (cut == std::string::npos ? std::string("..") : here.substr(0, cut) + "/..") +
         "/shared/vectors.json";
}

Vectors read_vectors() {
  Vectors result;
  const std::string path = path_of_vectors();
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  boost::system::error_code error;
  const json::value root = json::parse(text, error);
  if (error) {
    result.problem = path + " cannot be read (set MSERVE_SHARED_DIR to its folder)";
    return result;
  }
  for (const json::value& entry : root.at("vectors").as_array()) {
    result.by_id.emplace(text_of(entry.as_object(), "id"), result.all.size());
    result.all.push_back(read_vector(entry.as_object()));
  }
  for (const json::value& entry : root.at("validator_verdicts").as_array()) {
    const json::object& object = entry.as_object();
    result.verdicts.push_back(
        {text_of(object, "what"), from_hex(text_of(object, "hex")), object.at("okx") == 1});
  }
  for (const json::value& entry : root.at("large_message_heads").as_array()) {
    const json::object& object = entry.as_object();
    result.heads.push_back({text_of(object, "what"), object.at("total").to_number<std::uint64_t>(),
                            from_hex(text_of(object, "head"))});
  }
  return result;
}

}  // namespace

const Vectors& vectors() {
  static const Vectors kVectors = read_vectors();
  return kVectors;
}

std::vector<std::byte> from_hex(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::string to_hex(const std::vector<std::byte>& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const std::byte byte : bytes) {
    hex += kDigits[std::to_integer<unsigned>(byte) >> 4];
    hex += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return hex;
}

}  // namespace mserve::test
