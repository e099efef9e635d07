// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>

namespace kg::kernels::cpu {

/// How many CPUs this process can keep busy: those of its affinity mask, or as many as the quota of its
/// control group (cpu.max, or version 1's cpu.cfs_quota_us) or of one around that makes up, rounded up. At
/// least 1. /proc and /sys are looked for in `root`.
int usable_cpus(const std::filesystem::path& root = "/");

/// How many threads to use, by the environment: the first number of `omp_num_threads` (OMP_NUM_THREADS, a
/// list), else `cpus`, or `slurm_cpus_per_task` (SLURM_CPUS_PER_TASK) where that is less. Null stands for a
/// variable that is not set. One that is no number from 1 to max_threads is left out of account, with a line
/// on stderr.
int default_threads(const char* omp_num_threads, const char* slurm_cpus_per_task, int cpus);

}  // namespace kg::kernels::cpu
