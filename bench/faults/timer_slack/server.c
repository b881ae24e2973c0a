// An HTTP server that looks for its result 1 ms after each request.
//
// usage: server PORT fault|twin
//
// fault: allows its timers to be 20 ms late (PR_SET_TIMERSLACK), as power-saving programs do.
// twin:  has the default, 50 us.
#include <sys/prctl.h>

#include "../http.h"

static void wait_1_ms(void) { nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); }

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  if (strcmp(argv[2], "fault") == 0) prctl(PR_SET_TIMERSLACK, 20000000UL);  // threads inherit it
  serve_http(atoi(argv[1]), wait_1_ms);
}
