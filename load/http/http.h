// The door of load/http: an HTTP client for whoever has an event loop. http_connection.h says how
// it is driven.
#pragma once

#include "load/http/cookie_jar.h"
#include "load/http/http_checks.h"
#include "load/http/http_connection.h"
#include "load/http/http_request.h"
