// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace mnist {

/// This many bytes from the start of a file are enough for kind_of_file().
inline constexpr std::size_t file_kind_bytes = 512;

/// What a file is by its first bytes, in words for a message, whatever its name: "a web page (HTML)", "xz
/// data", "a Git LFS pointer (`git lfs pull` fetches the file itself)", "IDX data of float32 elements".
/// "text" or "unknown data" where nothing better can be said.
std::string kind_of_file(std::span<const std::uint8_t> head);

bool is_gzip(std::span<const std::uint8_t> head);
bool is_zip(std::span<const std::uint8_t> head);
bool is_png(std::span<const std::uint8_t> head);
bool is_jpeg(std::span<const std::uint8_t> head);
bool is_bmp(std::span<const std::uint8_t> head);

}  // namespace mnist
