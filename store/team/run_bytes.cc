#include "store/team/run_bytes.h"

#include <limits>

#include <fmt/format.h>
#include <zlib.h>

namespace topspin {
namespace {

constexpr int kGzip = 16 + MAX_WBITS;
constexpr size_t kMostAtOnce = size_t{1} << 30;  // zlib counts in 32 bits

Bytef* bytes_of(std::string_view bytes) {
  // zlib does not change what it reads.
  return reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
}

}  // namespace

Result<std::vector<std::string>> compress_in_chunks(std::string_view file) {
  z_stream stream{};
  // A database's pages compress nearly as well at the fastest level, in a fifth of the time.
  if (deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzip, MAX_MEM_LEVEL, Z_DEFAULT_STRATEGY) !=
      Z_OK)
    return make_error(ErrorCode::kInternal, "zlib found no memory to compress a run");
  std::vector<std::string> chunks;
  int status = Z_OK;
  while (status != Z_STREAM_END) {
    if (stream.avail_in == 0 && !file.empty()) {
      const std::string_view part = file.substr(0, kMostAtOnce);
      stream.next_in = bytes_of(part);
      stream.avail_in = static_cast<uInt>(part.size());
      file.remove_prefix(part.size());
    }
    std::string& chunk = chunks.emplace_back(kFileChunkBytes, '\0');
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = static_cast<uInt>(chunk.size());
    do {
      status = deflate(&stream, file.empty() ? Z_FINISH : Z_NO_FLUSH);
    } while (status == Z_OK && stream.avail_out > 0 && stream.avail_in > 0);
    chunk.resize(chunk.size() - stream.avail_out);
    if (chunk.empty()) chunks.pop_back();
  }
  deflateEnd(&stream);
  return chunks;
}

Result<std::string> decompress_chunks(const std::vector<std::string>& chunks, size_t bytes,
                                      const std::string& name) {
  const auto damaged = [&] {
    return make_error(ErrorCode::kInput,
                      fmt::format("the file of {} is damaged in the store", name));
  };
  z_stream stream{};
  if (inflateInit2(&stream, kGzip) != Z_OK)
    return make_error(ErrorCode::kInternal, "zlib found no memory to read a run");
  std::string file;
  int status = Z_OK;
  std::string out(kFileChunkBytes, '\0');
  for (const std::string& chunk : chunks) {
    stream.next_in = bytes_of(chunk);
    stream.avail_in = static_cast<uInt>(chunk.size());
    do {
      stream.next_out = reinterpret_cast<Bytef*>(out.data());
      stream.avail_out = static_cast<uInt>(out.size());
      status = inflate(&stream, Z_NO_FLUSH);
      file.append(out, 0, out.size() - stream.avail_out);
      if (file.size() > bytes) status = Z_DATA_ERROR;
    } while (status == Z_OK && (stream.avail_in > 0 || stream.avail_out == 0));
    if (status != Z_OK && status != Z_BUF_ERROR) break;
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END || file.size() != bytes) return damaged();
  return file;
}

}  // namespace topspin
