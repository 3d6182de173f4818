/*
 * Runs a program whose every fsync(2), fdatasync(2) and pwrite(2) to a file that was opened with
 * O_SYNC or O_DSYNC is counted and may be made late, without privileges and without the program's
 * knowledge: a seccomp filter hands these calls to a supervisor, which lets them go on when it is
 * time (seccomp_unotify(2)). Works for programs that do not go through the C library as well.
 *
 *   slow_sync CONTROL PROGRAM [ARGUMENT...]
 *
 * CONTROL is a file of at least 64 bytes that both sides map; see struct control. The program keeps
 * the process id that slow_sync was started with.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct control {
  /* Added to each sync. */
  uint32_t delay_ms;
  /* In the first stall_ms of each every_ms no sync ends; 0 for never. */
  uint32_t stall_ms;
  uint32_t every_ms;
  /* Moves the beginning of the periods. */
  uint32_t offset_ms;
  /* Syncs so far, written by the supervisor. */
  uint64_t syncs;
};

#define PENDING_MAX 256

static void fail(const char *what) {
  fprintf(stderr, "slow_sync: %s: %s\n", what, strerror(errno));
  exit(125);
}

static uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t due_ms(const volatile struct control *control) {
  uint64_t now = now_ms();
  uint64_t due = now + control->delay_ms;
  if (control->every_ms > 0 && control->stall_ms > 0) {
    uint64_t phase = (due + control->offset_ms) % control->every_ms;
    if (phase < control->stall_ms) due += control->stall_ms - phase;
  }
  return due;
}

/* Whether this is a call that ends when its data is durable. */
static int is_sync(const struct seccomp_notif *request) {
  if (request->data.nr != __NR_pwrite64) return 1;
  char path[64], line[128];
  snprintf(path, sizeof path, "/proc/%u/fdinfo/%d", request->pid, (int)request->data.args[0]);
  FILE *info = fopen(path, "r");
  if (info == NULL) return 0;
  unsigned flags = 0;
  while (fgets(line, sizeof line, info) != NULL && sscanf(line, "flags: %o", &flags) != 1) {
  }
  fclose(info);
  return (flags & O_DSYNC) != 0;
}

static int install_filter(void) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fdatasync, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_pwrite64, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fsync, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail("no_new_privs");
  int descriptor = (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
                                SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
  if (descriptor < 0) fail("seccomp");
  return descriptor;
}

static void send_descriptor(int channel, int descriptor) {
  char byte = 0, space[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec part = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = space,
                           .msg_controllen = sizeof space};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &descriptor, sizeof descriptor);
  if (sendmsg(channel, &message, 0) < 0) fail("sendmsg");
}

static int receive_descriptor(int channel) {
  char byte, space[CMSG_SPACE(sizeof(int))];
  struct iovec part = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {.msg_iov = &part,
                           .msg_iovlen = 1,
                           .msg_control = space,
                           .msg_controllen = sizeof space};
  if (recvmsg(channel, &message, 0) <= 0) exit(0);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header == NULL) exit(125);
  int descriptor;
  memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
  return descriptor;
}

static void supervise(int listener, volatile struct control *control) {
  struct seccomp_notif_sizes sizes;
  if (syscall(__NR_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0) fail("sizes");
  struct seccomp_notif *request = calloc(1, sizes.seccomp_notif);
  struct seccomp_notif_resp *response = calloc(1, sizes.seccomp_notif_resp);
  uint64_t ids[PENDING_MAX], dues[PENDING_MAX];
  int pending = 0;
  for (;;) {
    int wait = -1;
    uint64_t now = now_ms();
    for (int at = 0; at < pending; at++) {
      int left = dues[at] > now ? (int)(dues[at] - now) : 0;
      if (wait < 0 || left < wait) wait = left;
    }
    struct pollfd ready = {.fd = listener, .events = pending < PENDING_MAX ? POLLIN : 0};
    if (poll(&ready, 1, wait) < 0 && errno != EINTR) fail("poll");
    /* Nobody uses the filter any more: the program and all of its threads are gone. */
    if (ready.revents & (POLLHUP | POLLERR)) exit(0);
    if (ready.revents & POLLIN) {
      memset(request, 0, sizes.seccomp_notif);
      if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, request) == 0) {
        int sync = is_sync(request);
        if (sync) __atomic_add_fetch(&control->syncs, 1, __ATOMIC_RELAXED);
        ids[pending] = request->id;
        dues[pending++] = sync ? due_ms(control) : 0;
      }
    }
    now = now_ms();
    for (int at = 0; at < pending;) {
      if (dues[at] > now) {
        at++;
        continue;
      }
      memset(response, 0, sizes.seccomp_notif_resp);
      response->id = ids[at];
      response->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
      /* Fails when the thread that waited was killed, which is no matter. */
      ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, response);
      pending--;
      ids[at] = ids[pending];
      dues[at] = dues[pending];
    }
  }
}

int main(int count, char **arguments) {
  if (count < 3) {
    fprintf(stderr, "usage: slow_sync CONTROL PROGRAM [ARGUMENT...]\n");
    return 125;
  }
  int file = open(arguments[1], O_RDWR | O_CLOEXEC);
  if (file < 0) fail(arguments[1]);
  void *mapped = mmap(NULL, 64, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) fail("mmap");
  int channel[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) != 0) fail("socketpair");
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    /* Twice, so that the program does not find a child that it never made. */
    if (fork() != 0) _exit(0);
    close(channel[1]);
    int nothing = open("/dev/null", O_RDWR);
    for (int descriptor = 0; descriptor < 3; descriptor++) dup2(nothing, descriptor);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    supervise(receive_descriptor(channel[0]), mapped);
  }
  waitpid(child, NULL, 0);
  close(channel[0]);
  int listener = install_filter();
  send_descriptor(channel[1], listener);
  close(listener);
  close(channel[1]);
  execvp(arguments[2], arguments + 2);
  fail(arguments[2]);
}
