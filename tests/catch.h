#pragma once

// Catch2 by one name: version 3 splits its header, version 2 has only one.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
