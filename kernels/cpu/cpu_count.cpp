// SPDX-License-Identifier: MIT
#include "kernels/cpu/cpu_count.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>

#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

namespace fs = std::filesystem;

int allowed_cpus() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

/// quota / period, of a file "150000 100000" (version 2; "max" is no number) or of two files (version 1; -1
/// is no quota).
std::optional<double> quota_in(const fs::path& group) {
  double quota = 0, period = 0;
  std::ifstream both(group / "cpu.max");
  if (!(both >> quota >> period)) {
    std::ifstream(group / "cpu.cfs_quota_us") >> quota;
    std::ifstream(group / "cpu.cfs_period_us") >> period;
  }
  if (!(quota > 0 && period > 0)) return {};
  return quota / period;
}

/// The smallest quota of a group and those around it. Within a container the group's name may be that outside
/// of it; the mounted root is the group then.
double smallest_quota(const fs::path& mounted, const fs::path& group) {
  double smallest = HUGE_VAL;
  for (fs::path at = group.relative_path();; at = at.parent_path()) {
    if (const std::optional<double> quota = quota_in(mounted / at)) smallest = std::min(smallest, *quota);
    if (at.empty()) return smallest;
  }
}

/// Over the lines of /proc/self/cgroup: "0::/user.slice", "4:cpu,cpuacct:/docker/1f".
double smallest_quota(const fs::path& root) {
  const fs::path mounted = root / "sys/fs/cgroup";
  double smallest = HUGE_VAL;
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1),
                      group = line.substr(second + 1);
    if (controllers.empty()) {
      for (const char* folder : {"", "unified"})
        smallest = std::min(smallest, smallest_quota(mounted / folder, group));
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      for (const std::string& folder : {controllers, std::string("cpu")})
        smallest = std::min(smallest, smallest_quota(mounted / folder, group));
    }
  }
  return smallest;
}

/// The first number of a list, if it is one and a number of threads.
std::optional<int> first_number(const char* variable, const char* text) {
  if (!text) return {};
  char* end = nullptr;
  const long number = std::strtol(text, &end, 10);
  const std::string_view rest = end;
  const std::size_t next = rest.find_first_not_of(" \t");
  const bool whole = end != text && (next == std::string_view::npos || rest[next] == ',');
  if (whole && number >= 1 && number <= max_threads) return static_cast<int>(number);
  std::fprintf(stderr, "kernelgrad: %s is \"%s\", expected a number from 1 to %d: not taken into account\n",
               variable, text, max_threads);
  return {};
}

}  // namespace

int usable_cpus(const fs::path& root) {
  const double cpus = std::max(allowed_cpus(), 1);
  return static_cast<int>(std::max(std::min(cpus, std::ceil(smallest_quota(root))), 1.0));
}

int default_threads(const char* omp_num_threads, const char* slurm_cpus_per_task, int cpus) {
  if (const std::optional<int> count = first_number("OMP_NUM_THREADS", omp_num_threads)) return *count;
  const std::optional<int> task = first_number("SLURM_CPUS_PER_TASK", slurm_cpus_per_task);
  return std::min({task.value_or(cpus), cpus, max_threads});
}

}  // namespace kg::kernels::cpu
