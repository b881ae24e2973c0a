// An HTTP server that opens 20 log files a second. What is near is its limit of descriptors: see
// fault.toml.
//
// usage: server PORT fault|twin
//
// fault: never closes one.
// twin:  stops at 100.
#include <fcntl.h>

#include "../http.h"

static int logs_max;

static void* open_logs(void* unused) {
  for (int i = 0; i < logs_max; i++) {
    open("/dev/null", O_WRONLY);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
  }
  return unused;
}

static void nothing(void) {}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  logs_max = strcmp(argv[2], "fault") == 0 ? 100000 : 100;
  pthread_t thread;
  pthread_create(&thread, NULL, open_logs, NULL);
  serve_http(atoi(argv[1]), nothing);
}
