// The only file that includes LuaJIT's headers.
#pragma once

#include <lua.hpp>
