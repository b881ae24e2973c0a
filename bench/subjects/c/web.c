// More servers of bench/plans in C, each with one thread. usage: web ROLE PORT [CERTIFICATE KEY]
//
//   json   POST {"name": TEXT, "items": [NUMBER, ...]}: answers {"name": ..., "count": ..., "sum":
//          ...}; 400 if the body is not that
//   login  POST /login {"user": TEXT}: a token in X-Token. GET /account with that X-Token: "ok",
//          without it 403
//   tls    "Hello, world" over TLS, by OpenSSL
//
// JSON is read and written by json-c. Requests have at most 16 KiB.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <json-c/json.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
  SSL* tls;  // or NULL
  size_t used;
  char text[16384];
};
static struct client* clients[1 << 16];
static const char* role;

static void die(const char* what) {
  perror(what);
  exit(1);
}

// The value of a header, NUL-terminated in `into`. 0: it is not there, or too long.
static int header(const char* head, const char* name, char* into, size_t size) {
  const char* at = strcasestr(head, name);
  if (at == NULL) return 0;
  at += strlen(name);
  while (*at == ' ') ++at;
  size_t length = strcspn(at, "\r\n");
  if (length >= size) return 0;
  memcpy(into, at, length);
  into[length] = '\0';
  return 1;
}

static int respond(char* into, size_t size, const char* status, const char* more,
                   const char* body) {
  return snprintf(into, size, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n%s", status,
                  strlen(body), more, body);
}

static int answer_json(const char* body, char* into, size_t size) {
  json_object *request = json_tokener_parse(body), *name, *items;
  if (!json_object_is_type(request, json_type_object) ||
      !json_object_object_get_ex(request, "name", &name) ||
      !json_object_object_get_ex(request, "items", &items) ||
      !json_object_is_type(items, json_type_array)) {
    json_object_put(request);
    return respond(into, size, "400 Bad Request", "", "");
  }
  int64_t sum = 0;
  size_t count = json_object_array_length(items);
  for (size_t i = 0; i < count; ++i)
    sum += json_object_get_int64(json_object_array_get_idx(items, i));
  json_object* reply = json_object_new_object();
  json_object_object_add(reply, "name", json_object_get(name));
  json_object_object_add(reply, "count", json_object_new_int64((int64_t)count));
  json_object_object_add(reply, "sum", json_object_new_int64(sum));
  int length = respond(into, size, "200 OK", "Content-Type: application/json\r\n",
                       json_object_to_json_string(reply));
  json_object_put(reply);
  json_object_put(request);
  return length;
}

static int answer_login(const char* head, const char* body, char* into, size_t size) {
  char token[256], more[512];
  if (strncmp(head, "POST /login ", 12) == 0) {
    json_object *request = json_tokener_parse(body), *user;
    int length;
    if (json_object_is_type(request, json_type_object) &&
        json_object_object_get_ex(request, "user", &user)) {
      snprintf(more, sizeof more, "X-Token: token-of-%.200s\r\n", json_object_get_string(user));
      length = respond(into, size, "200 OK", more, "");
    } else {
      length = respond(into, size, "400 Bad Request", "", "");
    }
    json_object_put(request);
    return length;
  }
  if (strncmp(head, "GET /account ", 13) == 0 && header(head, "\nX-Token:", token, sizeof token) &&
      strncmp(token, "token-of-", 9) == 0)
    return respond(into, size, "200 OK", "", "ok");
  return respond(into, size, "403 Forbidden", "", "");
}

static int send_all(int fd, struct client* client, const char* bytes, int length) {
  if (client->tls) return SSL_write(client->tls, bytes, length) == length;
  return send(fd, bytes, (size_t)length, MSG_NOSIGNAL) == length;
}

// Answers every whole request. 0: the connection is over.
static int answer(int fd, struct client* client) {
  char *end, reply[16384], number[16];
  while ((end = strstr(client->text, "\r\n\r\n")) != NULL) {
    size_t head_length = (size_t)(end + 4 - client->text);
    *end = '\0';
    size_t body_length = 0;
    if (header(client->text, "\nContent-Length:", number, sizeof number))
      body_length = (size_t)atol(number);
    if (body_length >= sizeof client->text - head_length) return 0;
    if (client->used < head_length + body_length) {
      *end = '\r';
      return 1;
    }
    char* body = client->text + head_length;
    const char after = body[body_length];
    body[body_length] = '\0';
    int last = strcasestr(client->text, "\nconnection: close") != NULL, length;
    if (!strcmp(role, "json"))
      length = answer_json(body, reply, sizeof reply);
    else if (!strcmp(role, "login"))
      length = answer_login(client->text, body, reply, sizeof reply);
    else
      length = respond(reply, sizeof reply, "200 OK", last ? "Connection: close\r\n" : "",
                       "Hello, world\n");
    body[body_length] = after;
    if (length >= (int)sizeof reply || !send_all(fd, client, reply, length) || last) return 0;
    client->used -= head_length + body_length;
    memmove(client->text, body + body_length, client->used + 1);
  }
  return client->used + 1 < sizeof client->text;
}

// Reads what is there. 0: the connection is over.
static int receive(int fd, struct client* client) {
  for (;;) {
    char* into = client->text + client->used;
    const size_t room = sizeof client->text - client->used - 1;
    ssize_t got;
    if (client->tls) {
      got = SSL_read(client->tls, into, (int)room);
      if (got <= 0) {
        const int why = SSL_get_error(client->tls, (int)got);
        ERR_clear_error();
        return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE;
      }
    } else {
      got = recv(fd, into, room, 0);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 1;
      if (got <= 0) return 0;
    }
    client->used += (size_t)got;
    client->text[client->used] = '\0';
    if (!answer(fd, client)) return 0;
    if (!client->tls) return 1;  // level-triggered; OpenSSL may hold more that epoll does not see
  }
}

static void forget(int fd) {
  if (clients[fd]->tls) {
    SSL_shutdown(clients[fd]->tls);
    SSL_free(clients[fd]->tls);
  }
  free(clients[fd]);
  clients[fd] = NULL;
  close(fd);
}

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: web json|login PORT, or web tls PORT CERTIFICATE KEY\n");
    return 2;
  }
  role = argv[1];
  signal(SIGPIPE, SIG_IGN);
  SSL_CTX* context = NULL;
  if (!strcmp(role, "tls")) {
    context = SSL_CTX_new(TLS_server_method());
    if (argc < 5 || SSL_CTX_use_certificate_file(context, argv[3], SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, argv[4], SSL_FILETYPE_PEM) != 1) {
      fprintf(stderr, "web: tls needs a certificate and a key in PEM\n");
      return 2;
    }
  }
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((unsigned short)atoi(argv[2])),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr*)&address, sizeof address) != 0) die("bind");
  if (listen(listener, 4096) != 0) die("listen");
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int n = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < n; ++i) {
      int fd = events[i].data.fd;
      if (fd != listener) {
        if (!receive(fd, clients[fd])) forget(fd);
        continue;
      }
      int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (connection < 0) continue;
      if (connection >= 1 << 16 || !(clients[connection] = calloc(1, sizeof(struct client)))) {
        close(connection);
        continue;
      }
      if (context) {
        clients[connection]->tls = SSL_new(context);
        SSL_set_fd(clients[connection]->tls, connection);
        SSL_set_accept_state(clients[connection]->tls);
      }
      setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      event.events = EPOLLIN;
      event.data.fd = connection;
      epoll_ctl(epoll, EPOLL_CTL_ADD, connection, &event);
    }
  }
}
