// Reads and writes .npy files of float32 in C order, version 1.0; anything else is refused.
//
// Source: numpy/lib/format.py, "Format Version 1.0".

#pragma once

#include <cstdint>
#include <fstream>
#include <functional>
#include <numeric>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, ".npy files are read as they lie in memory");

struct Array {
  std::vector<int64_t> shape;
  std::vector<float> values;  // as many as the product of the shape
};

inline int64_t CountOf(const std::vector<int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<int64_t>());
}

const char kMagic[] = "\x93NUMPY\x01";  // and a zero, of version 1.0
const std::regex kHeader(R"re(\{'descr': '<f4', 'fortran_order': False, 'shape': \(((?:\d{1,9}, ?)*\d{0,9})\), \} *\n)re");

inline Array ReadNpy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::string start(10, '\0');
  file.read(&start[0], 10);
  const size_t length = static_cast<uint8_t>(start[8]) + 256 * static_cast<uint8_t>(start[9]);
  std::string header(length, '\0');
  file.read(&header[0], length);
  std::smatch found;
  if (!file || start.compare(0, 8, kMagic, 8) != 0 || !std::regex_match(header, found, kHeader)) {
    throw std::runtime_error(path + " is no .npy file of version 1.0 with float32 in C order");
  }
  Array array;
  std::string size;
  for (std::istringstream sizes(found[1].str()); std::getline(sizes >> std::ws, size, ',');) {
    array.shape.push_back(std::stoll(size));
  }
  file.seekg(0, std::ios::end);
  const int64_t bytes = static_cast<int64_t>(file.tellg()) - static_cast<int64_t>(10 + length);
  if (bytes % sizeof(float) != 0 || bytes / static_cast<int64_t>(sizeof(float)) != CountOf(array.shape)) {
    throw std::runtime_error(path + " is truncated, or longer than its header says");
  }
  array.values.resize(bytes / sizeof(float));
  file.seekg(10 + length);
  file.read(reinterpret_cast<char*>(array.values.data()), bytes);
  if (!file) throw std::runtime_error("cannot read " + path);
  return array;
}

inline void WriteNpy(const std::string& path, const Array& array) {
  std::string sizes;
  for (int64_t size : array.shape) sizes += std::to_string(size) + ", ";
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + sizes + "), }";
  header += std::string(63 - (10 + header.size()) % 64, ' ') + "\n";
  std::ofstream file(path, std::ios::binary);
  file.write(kMagic, 8);
  file.put(static_cast<char>(header.size() % 256)).put(static_cast<char>(header.size() / 256)) << header;
  file.write(reinterpret_cast<const char*>(array.values.data()), array.values.size() * sizeof(float));
  if (!file.flush()) throw std::runtime_error("cannot write " + path);
}
