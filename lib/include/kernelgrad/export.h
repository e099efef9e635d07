// SPDX-License-Identifier: MIT
#pragma once

/// On a namespace of a public header: what is declared in it can be seen from outside of a shared library.
/// The library is compiled with hidden symbols, so nothing else can.
#define KG_API [[gnu::visibility("default")]]
