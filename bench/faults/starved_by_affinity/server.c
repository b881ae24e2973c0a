// An HTTP server that computes 3 ms for each request, with a thread for each connection.
// taskset pins all threads to one CPU: see fault.toml. usage: server PORT
#include "../http.h"

static void compute_3_ms(void) {
  struct timespec used;
  long until;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  until = used.tv_sec * 1000000000 + used.tv_nsec + 3000000;
  while (used.tv_sec * 1000000000 + used.tv_nsec < until)
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
}

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  serve_http(atoi(argv[1]), compute_3_ms);
}
