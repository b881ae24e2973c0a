/* A subject whose second thread, not its first, replaces the program by exec. The kernel then gives
 * that thread the tid of the first. usage: exec_subject first|second */
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char* program;

static double thread_cpu_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void burn(double seconds) {
  const double end = thread_cpu_s() + seconds;
  while (thread_cpu_s() < end) {
  }
}

static void* second_thread(void* nothing) {
  (void)nothing;
  burn(0.3);
  usleep(150000); /* time for a periodic reader to see it under its own tid */
  execl(program, program, "second", (char*)0);
  _exit(1);
}

int main(int count, char** words) {
  pthread_t thread;
  program = words[0];
  if (count > 1 && strcmp(words[1], "second") == 0) {
    burn(0.15);
    usleep(150000);
    burn(0.05);
    return 0;
  }
  burn(0.1);
  if (pthread_create(&thread, 0, second_thread, 0) != 0) return 1;
  pthread_join(thread, 0);
  return 0;
}
