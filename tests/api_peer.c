/* api_peer: hides how the other process is started and talked to. */
#include "api_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api_util.h"

/* open_store lies beside this program; libtool may have put both into .libs. */
const char *peer_program(void)
{
    char *path = api_alloc(PATH_MAX + 32);
    ssize_t size = readlink("/proc/self/exe", path, PATH_MAX);
    ck_assert_int_gt(size, 0);
    char *slash = strrchr(path, '/');
    strcpy(slash, "/open_store");
    if (access(path, X_OK) != 0 && slash - path > 6 && strncmp(slash - 6, "/.libs", 6) == 0)
        strcpy(slash - 6, "/open_store");
    ck_assert_msg(access(path, X_OK) == 0, "%s is not built", path);
    return path;
}

bool peer_has_answered(struct peer *peer)
{
    return fgets(peer->answer, sizeof peer->answer, peer->from) != NULL;
}

const char *peer_answer(struct peer *peer)
{
    ck_assert_msg(peer_has_answered(peer), "the other process has ended");
    peer->answer[strcspn(peer->answer, "\n")] = '\0';
    return peer->answer;
}

static void become(uid_t user)
{
    if (user != geteuid() && (setgroups(0, NULL) != 0 || setgid(user) != 0 || setuid(user) != 0))
        _exit(127);
}

void peer_start_as(struct peer *peer, const char *helper, const char *path, const char *mode, uid_t user)
{
    int in[2], out[2];
    ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    peer->pid = fork();
    if (peer->pid == 0) {
        become(user);
        if (dup2(in[0], STDIN_FILENO) >= 0 && dup2(out[1], STDOUT_FILENO) >= 0)
            execl(helper, helper, path, mode, (char *)NULL);
        _exit(127);
    }
    ck_assert_int_gt(peer->pid, 0);
    close(in[0]);
    close(out[1]);
    peer->to = fdopen(in[1], "w");
    peer->from = fdopen(out[0], "r");
}

const char *peer_start(struct peer *peer, const char *mode)
{
    peer_start_as(peer, peer_program(), api.path, mode, geteuid());
    return peer_answer(peer);
}

void peer_tell(struct peer *peer, const char *command)
{
    fprintf(peer->to, "%s\n", command);
    ck_assert_int_eq(fflush(peer->to), 0);
}

const char *peer_ask(struct peer *peer, const char *command)
{
    peer_tell(peer, command);
    return peer_answer(peer);
}

int peer_finish(struct peer *peer, int signal_number)
{
    int status = 0;
    if (!peer->pid)
        return 0;
    if (signal_number)
        kill(peer->pid, signal_number);
    fclose(peer->to);
    ck_assert_int_eq(waitpid(peer->pid, &status, 0), peer->pid);
    fclose(peer->from);
    peer->pid = 0;
    return status;
}
