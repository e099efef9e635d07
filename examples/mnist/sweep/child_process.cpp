// SPDX-License-Identifier: MIT
#include "sweep/child_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <utility>

#include "kernelgrad/error.h"

namespace mnist {

namespace {

/// Holds all signals back: one that came between fork() and execv() would run a handler of the parent's in
/// the child, and be forgotten.
class SignalsHeldBack {
 public:
  SignalsHeldBack() {
    sigset_t all;
    ::sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsHeldBack() { restore(); }
  SignalsHeldBack(const SignalsHeldBack&) = delete;
  SignalsHeldBack& operator=(const SignalsHeldBack&) = delete;
  void restore() const { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

int open_output(const std::filesystem::path& output) {
  const int file = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) throw kg::Error(output.string() + ": cannot be written: " + std::strerror(errno));
  return file;
}

// In the child from fork() on nothing may allocate or lock: there may have been other threads.

/// Ends the child, with what failed and errno in its output.
[[noreturn]] void give_up(int output, const char* name, const char* what) {
  for (const char* text : {name, what, ::strerrordesc_np(errno), "\n"})
    if (::write(output, text, std::strlen(text)) < 0) break;
  ::_exit(127);
}

[[noreturn]] void become(const char* program, char* const* arguments, int output, pid_t parent,
                         const SignalsHeldBack& signals) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(127);
  const int input = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (input < 0) give_up(output, "/dev/null", ": cannot be opened: ");
  if (::dup2(input, STDIN_FILENO) < 0 || ::dup2(output, STDOUT_FILENO) < 0 ||
      ::dup2(output, STDERR_FILENO) < 0)
    give_up(output, program, ": cannot be given its standard streams: ");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_DFL);
  signals.restore();
  ::execv(program, arguments);
  give_up(output, program, ": cannot be run: ");
}

}  // namespace

ChildProcess::ChildProcess(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                           const std::filesystem::path& output) {
  std::vector<std::string> words = {"mnist"};  // what a list of processes shows
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const int file = open_output(output);
  const pid_t parent = ::getpid();
  // What stands in this process's buffers is not the child's to write, should something flush them there: as
  // ThreadSanitizer does at _exit().
  std::fflush(nullptr);
  {
    const SignalsHeldBack signals;
    id_ = ::fork();
    if (id_ == 0) become(program.c_str(), pointers.data(), file, parent, signals);
  }
  const int error = errno;
  ::close(file);
  if (id_ < 0) throw kg::Error(program.string() + ": cannot start a process: " + std::strerror(error));
}

ChildProcess::~ChildProcess() {
  if (id_ < 0 || status_) return;
  ask_to_end();
  while (::waitpid(id_, nullptr, 0) < 0 && errno == EINTR) continue;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : id_(std::exchange(other.id_, -1)), asked_(other.asked_), status_(other.status_) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  std::swap(id_, other.id_);
  std::swap(asked_, other.asked_);
  std::swap(status_, other.status_);
  return *this;
}

void ChildProcess::ask_to_end() {
  if (id_ < 0) return;  // to kill(), -1 is every process
  if (!std::exchange(asked_, true) && !status_) ::kill(id_, SIGTERM);
}

bool ChildProcess::has_ended() {
  if (status_) return true;
  if (id_ < 0) throw kg::Error("ChildProcess: has_ended() of one that was moved away");
  int status = 0;
  const pid_t ended = ::waitpid(id_, &status, WNOHANG);
  if (ended < 0 && errno != EINTR)
    throw kg::Error(std::string("cannot wait for a process: ") + std::strerror(errno));
  if (ended == id_) status_ = status;
  return status_.has_value();
}

std::string ChildProcess::failure() const {
  const int status = status_.value();
  if (WIFSIGNALED(status)) return "signal " + std::to_string(WTERMSIG(status));
  if (WEXITSTATUS(status) != 0) return "exit status " + std::to_string(WEXITSTATUS(status));
  return {};
}

}  // namespace mnist
