// An HTTP server that opens six files for each client. Its limit of descriptors is near: see
// fault.toml.
//
// usage: server PORT fault|twin
//
// fault: never closes them.
// twin:  closes them at once.
#include <fcntl.h>

#include "../http.h"

static int keeps_open;
static __thread int has_opened;  // there is a thread for each connection

static void open_files(void) {
  if (has_opened) return;
  has_opened = 1;
  for (int i = 0; i < 6; i++) {
    int fd = open("/dev/null", O_WRONLY);
    if (!keeps_open) close(fd);
  }
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  keeps_open = strcmp(argv[2], "fault") == 0;
  serve_http(atoi(argv[1]), open_files);
}
