// SPDX-License-Identifier: MIT
#include "sweep/child_process.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "catch.h"
#include "idx_fixture.h"

namespace mnist {
namespace {

/// Runs the lines of a shell script.
ChildProcess shell(const std::string& script, const std::filesystem::path& output) {
  return ChildProcess("/bin/sh", {"-c", script}, output);
}

std::string failure_of(ChildProcess child) {
  while (!child.has_ended()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return child.failure();
}

void wait_for(const std::filesystem::path& path, const std::string& text) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (text_of(path) != text && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  REQUIRE(text_of(path) == text);
}

/// Waits to be asked to end, and not for ever.
const std::string waiting_script =
    "trap 'echo ended; exit' TERM; echo ready; for i in $(seq 3000); do sleep 0.01; done";

TEST_CASE("A child's output goes to its file, its input is empty, and how it ended is told",
          "[child_process]") {
  const TemporaryDirectory directory;
  const auto output = directory / "output.txt";
  std::ofstream(output) << "what an earlier child has left behind, which is longer\n";
  CHECK(failure_of(shell("cat; echo out; echo err >&2", output)) == "");
  CHECK(text_of(output) == "out\nerr\n");
  CHECK(failure_of(shell("exit 3", output)) == "exit status 3");
  CHECK(failure_of(shell("kill -9 $$", output)) == "signal 9");
}

TEST_CASE("A child gets its arguments as they are", "[child_process]") {
  const TemporaryDirectory directory;
  CHECK(failure_of(ChildProcess("/bin/sh", {"-c", "printf '<%s>' \"$@\"", "", "a b", "", "*"},
                                directory / "output.txt")) == "");
  CHECK(text_of(directory / "output.txt") == "<a b><><*>");
}

TEST_CASE("A program that is not there, and a file that cannot be", "[child_process]") {
  const TemporaryDirectory directory;
  const auto output = directory / "output.txt";
  CHECK(failure_of(ChildProcess(directory / "nowhere", {}, output)) == "exit status 127");
  CHECK(text_of(output) == (directory / "nowhere").string() + ": cannot be run: No such file or directory\n");
  CHECK(error_of([&] { shell("exit 0", directory / "no" / "folder"); }) ==
        (directory / "no" / "folder").string() + ": cannot be written: No such file or directory");
}

TEST_CASE("A child is asked to end once, and may take its time", "[child_process]") {
  const TemporaryDirectory directory;
  const auto output = directory / "output.txt", go = directory / "go";
  ChildProcess child = shell(
      "trap 'echo asked' TERM; echo ready; until [ -e " + go.string() + " ]; do sleep 0.01; done; exit 5",
      output);
  wait_for(output, "ready\n");
  CHECK(!child.has_ended());
  child.ask_to_end();
  wait_for(output, "ready\nasked\n");
  child.ask_to_end();
  std::ofstream(go) << "";
  CHECK(failure_of(std::move(child)) == "exit status 5");
  CHECK(text_of(output) == "ready\nasked\n");
}

TEST_CASE("A child does not outlive its object", "[child_process]") {
  const TemporaryDirectory directory;
  const auto output = directory / "output.txt";
  {
    ChildProcess child = shell(waiting_script, output);
    wait_for(output, "ready\n");
    const ChildProcess moved = std::move(child);
  }
  CHECK(text_of(output) == "ready\nended\n");
}

TEST_CASE("A child whose parent is killed is asked to end", "[child_process]") {
  const TemporaryDirectory directory;
  const auto output = directory / "output.txt";
  const pid_t parent = ::fork();
  if (parent == 0) {
    const ChildProcess child = shell(waiting_script, output);
    while (true) ::pause();
  }
  REQUIRE(parent > 0);
  wait_for(output, "ready\n");
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  wait_for(output, "ready\nended\n");
}

TEST_CASE("A child whose parent is gone before it can ask to be told ends too", "[child_process]") {
  const TemporaryDirectory directory;
  REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);  // so that orphans can be waited for
  int outlived = 0;
  for (int round = 0; round < 50; ++round) {
    const pid_t parent = ::fork();
    if (parent == 0) {
      new ChildProcess("/bin/sleep", {"1"}, directory / "output.txt");
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(parent, nullptr, 0);
    ::waitpid(-1, &status, 0);
    outlived += WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 0);
  CHECK(outlived == 0);
}

TEST_CASE("A child takes signals as any program, whatever its parent does with them", "[child_process]") {
  const TemporaryDirectory directory;
  const auto before = std::signal(SIGTERM, SIG_IGN);
  const std::string failure = failure_of(shell("kill -TERM $$; echo alive", directory / "output.txt"));
  std::signal(SIGTERM, before);
  CHECK(failure == "signal 15");
}

}  // namespace
}  // namespace mnist
