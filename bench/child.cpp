/* child: see child.hpp. */
#include "child.hpp"
#include "fill.hpp"
#include "measure.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace bench
{

constexpr size_t SYNCED = 1000; /* rows of a batch that is to be replayed */

Child::Child(const std::vector<std::string> &arguments)
{
    std::vector<char *> argv;
    std::string self = "bench", mark = "--child";
    posix_spawn_file_actions_t actions;
    int ends[2];

    argv = { self.data(), mark.data() };
    for (const auto &argument : arguments)
        argv.push_back(const_cast<char *>(argument.c_str()));
    argv.push_back(nullptr);
    if (pipe2(ends, O_CLOEXEC) < 0)
        fail("pipe: %s", strerror(errno));
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    const int status = posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    fd = ends[0];
    if (status != 0)
        fail("cannot start this program again: %s", strerror(status));
}

Child::~Child()
{
    close(fd);
    wait();
}

std::string Child::line()
{
    std::string text;
    char c;

    while (read(fd, &c, 1) == 1) {
        if (c == '\n')
            return text;
        text += c;
    }
    fail("a process of this benchmark ended too soon");
}

void Child::kill_it()
{
    kill(pid, SIGKILL);
    wait();
}

void Child::wait()
{
    if (pid > 0)
        waitpid(pid, nullptr, 0);
    pid = -1;
}

/* --- the work of a child --- */

static const EngineKind &kind_named(const std::string &name)
{
    for (const auto &kind : engine_kinds())
        if (kind.name == name)
            return kind;
    fail("no such engine: %s", name.c_str());
}

static EngineOptions options_of(char **argv)
{
    EngineOptions options;

    options.folder = argv[1];
    options.shape = shape_of((Kind)atoi(argv[2]));
    options.rows = strtoull(argv[3], nullptr, 10);
    return options;
}

/* Bytes of anonymous memory of this process. */
static uint64_t anonymous_bytes()
{
    std::ifstream file("/proc/self/status");

    for (std::string line; std::getline(file, line);)
        if (line.compare(0, 8, "RssAnon:") == 0)
            return strtoull(line.c_str() + 8, nullptr, 10) * 1024;
    return 0;
}

/* Rows in synced batches that stay in the journal; then wait to be killed. */
static void write_journal(const std::string &engine, EngineOptions options)
{
    options.sync = Sync::each;
    options.flush_age_ms = 3600000;
    options.delta_bytes = options.rows * 400 + ((uint64_t)1 << 30);
    const auto store = kind_named(engine).open(options);
    const auto session = store->session();
    RowBlock block;

    for (uint64_t done = 0; done < options.rows; done += SYNCED) {
        block.make(options.shape, sequence(done, std::min<uint64_t>(SYNCED, options.rows - done)));
        session->put(block.span());
    }
    puts("written");
    fflush(stdout);
    for (;;)
        pause();
}

/* Print what the rows take in memory after they were loaded, or after the store was opened again. */
static void weigh(const std::string &name, const EngineOptions &options, bool fill)
{
    const EngineKind &kind = kind_named(name);

    malloc_trim(0);
    const uint64_t before = anonymous_bytes();
    Loaded loaded(kind, options);
    if (fill)
        loaded.fill(options.rows);
    loaded.engine->warm();
    malloc_trim(0);
    printf("%llu\n", (unsigned long long)(anonymous_bytes() - before));
    fflush(stdout);
}

/* bench --child WORK ENGINE FOLDER KIND ROWS */
void run_child(int argc, char **argv)
{
    if (argc != 7 || std::string(argv[1]) != "--child")
        return;
    const std::string work = argv[2], engine = argv[3];
    const EngineOptions options = options_of(argv + 3);
    if (work == "journal")
        write_journal(engine, options);
    weigh(engine, options, work == "fill");
    exit(0);
}

} // namespace bench
