// An HTTP server that has nothing to do but answer. The load is slow: see fault.toml.
// usage: server PORT
#include "../http.h"

static void nothing(void) {}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  serve_http(atoi(argv[1]), nothing);
}
