// An HTTP server with a counter that all connections share under one mutex.
//
// usage: server PORT fault|twin
//
// fault: waits 6 ms for its "store" while it holds the mutex.
// twin:  waits as long, but before it takes the mutex, which it then has for less than 1 us.
#include "../http.h"

static pthread_mutex_t counter_mutex = PTHREAD_MUTEX_INITIALIZER;
static long counter;
static int hold;

static void store(void) { nanosleep(&(struct timespec){.tv_nsec = 6000000}, NULL); }

static void count_request(void) {
  if (!hold) store();
  pthread_mutex_lock(&counter_mutex);
  if (hold) store();
  counter++;
  pthread_mutex_unlock(&counter_mutex);
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  hold = strcmp(argv[2], "fault") == 0;
  serve_http(atoi(argv[1]), count_request);
}
