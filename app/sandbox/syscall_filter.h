// Limits which system calls a process may make, by seccomp. The only file that includes seccomp.h
// is syscall_filter.cc.
#pragma once

#include "app/sandbox/sandbox.h"
#include "core/base/result.h"

namespace topspin {

/// Whether this kernel has seccomp filters.
bool has_syscall_filters();

/// For good, this process makes only the system calls that reading files, writing a database and
/// showing a screen need. Any other is not carried out: a message names it, and SIGSYS ends the
/// process. `holds_connection`: it also sends on a socket that it has. Does nothing if the kernel
/// has no filters. REQUIRES: no_new_privs is set.
Status limit_system_calls(bool holds_connection);

/// For good, this process makes only the system calls that a recording needs once everything is
/// open. Any other fails with EPERM, and a message names it. If it would execute a program or reach
/// into another process, SIGSYS ends this one, because an attacker must have made it. Does nothing
/// if the kernel has no filters. REQUIRES: no_new_privs is set, and the recording's threads do not
/// block SIGSYS.
Status limit_recorder_calls(const RecordingNeeds& needs);

/// For good, a few system calls of this process fail: those that execute a program, reach into
/// another process or into the kernel, change users or namespaces, capture packets, and listen.
/// What libcurl and its libraries call otherwise differs from one version to the next. REQUIRES:
/// no_new_privs is set.
Status limit_sender_calls();

}  // namespace topspin
