/* child: work in a process of its own: to be killed, or to have its memory measured. */
#ifndef BENCH_CHILD_HPP
#define BENCH_CHILD_HPP

#include <string>
#include <vector>

#include <sys/types.h>

namespace bench
{

/* This program, started again with other arguments; its output is read by the parent. */
class Child
{
  public:
    explicit Child(const std::vector<std::string> &arguments);
    ~Child(); /* waits */
    Child(const Child &) = delete;
    Child &operator=(const Child &) = delete;

    std::string line(); /* the next line of its output; exits if there is none */
    void kill_it(); /* SIGKILL, and wait */

  private:
    void wait();

    pid_t pid = -1;
    int fd = -1;
};

/* If the arguments are those of a child: do its work and exit. */
void run_child(int argc, char **argv);

} // namespace bench

#endif
