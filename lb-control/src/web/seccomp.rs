//! Which system calls the web tool has left: those of a server that reads and writes its own files. It starts no
//! program, opens no connection but to unix sockets (and by TCP to the partner, where that is let through: landlock says
//! to which port), and maps nothing that can be executed.

use anyhow::Context as _;
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Compare,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Whatever their arguments are.
const CALLS: &[libc::c_long] = &[
    // Files that are open, and what landlock lets through.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_openat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_getdents64,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    // Connections.
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_restart_syscall,
    // Memory.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // Threads and signals. The other filter says of the first one that there is none.
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Who and where we are, and chance.
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_prlimit64,
    libc::SYS_getrandom,
];

/// Older names of the same that other machines never had.
#[cfg(target_arch = "x86_64")]
const OLD: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[libc::c_long] = &[];

/// Shuts this thread in, and those that it starts.
///
/// # Errors
/// If the kernel has no such filters.
pub(super) fn enter(has_partner: bool) -> anyhow::Result<()> {
    for filter in [nothing_new()?, calls(has_partner)?] {
        seccompiler::apply_filter(&filter).context("limiting system calls")?;
    }
    Ok(())
}

/// The C library asks for this one first, whose arguments cannot be looked at, and does without it.
fn nothing_new() -> anyhow::Result<BpfProgram> {
    let missing = SeccompAction::Errno(errno(libc::ENOSYS));
    program(
        vec![(libc::SYS_clone3, Vec::new())],
        SeccompAction::Allow,
        missing,
    )
}

fn calls(has_partner: bool) -> anyhow::Result<BpfProgram> {
    let is = |argument, length, value| condition(argument, length, Compare::Eq, value);
    let without = |argument, bits: i32| {
        let bits = u64::from(bits.unsigned_abs());
        condition(argument, Length::Dword, Compare::MaskedEq(bits), 0)
    };
    let unix = u64::from(libc::AF_UNIX.unsigned_abs());
    let threads = u64::from((libc::CLONE_VM | libc::CLONE_THREAD).unsigned_abs());
    let name = u64::from(libc::PR_SET_NAME.unsigned_abs());
    let mut rules: Vec<_> = CALLS
        .iter()
        .chain(OLD)
        .map(|call| (*call, Vec::new()))
        .collect();
    let mut sockets = vec![is(0, Length::Dword, unix)?];
    if has_partner {
        for family in [libc::AF_INET, libc::AF_INET6] {
            sockets.push(stream(family)?);
        }
    }
    rules.extend([
        (libc::SYS_socket, sockets),
        (libc::SYS_socketpair, vec![is(0, Length::Dword, unix)?]),
        (libc::SYS_mmap, vec![without(2, libc::PROT_EXEC)?]),
        (libc::SYS_mprotect, vec![without(2, libc::PROT_EXEC)?]),
        (
            libc::SYS_clone,
            vec![condition(
                0,
                Length::Qword,
                Compare::MaskedEq(threads),
                threads,
            )?],
        ),
        (libc::SYS_prctl, vec![is(0, Length::Dword, name)?]),
        (libc::SYS_ioctl, vec![is(1, Length::Dword, libc::FIONBIO)?]),
    ]);
    let refused = SeccompAction::Errno(errno(libc::EPERM));
    program(rules, refused, SeccompAction::Allow)
}

/// A socket of TCP, with whatever flags.
fn stream(family: i32) -> anyhow::Result<SeccompRule> {
    let (family, kind) = (family.unsigned_abs(), libc::SOCK_STREAM.unsigned_abs());
    // Linux: the type is in the four lowest bits.
    let of_kind = Compare::MaskedEq(0xf);
    let conditions = vec![
        SeccompCondition::new(0, Length::Dword, Compare::Eq, family.into())?,
        SeccompCondition::new(1, Length::Dword, of_kind, kind.into())?,
    ];
    Ok(SeccompRule::new(conditions)?)
}

fn condition(
    argument: u8,
    length: Length,
    compare: Compare,
    value: u64,
) -> anyhow::Result<SeccompRule> {
    let condition = SeccompCondition::new(argument, length, compare, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

fn program(
    rules: Vec<(libc::c_long, Vec<SeccompRule>)>,
    otherwise: SeccompAction,
    matching: SeccompAction,
) -> anyhow::Result<BpfProgram> {
    let machine = TargetArch::try_from(std::env::consts::ARCH)?;
    let rules = rules.into_iter().collect();
    let filter = SeccompFilter::new(rules, otherwise, matching, machine)?;
    Ok(filter.try_into()?)
}

const fn errno(number: i32) -> u32 {
    number.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use std::{
        fs, io,
        net::{TcpListener, TcpStream, UdpSocket},
        os::unix::net::{UnixListener, UnixStream},
        process::Command,
        thread,
    };

    use super::*;

    #[test]
    fn it_starts_no_program_and_opens_no_connection() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("lb.sock");
        let _daemon = UnixListener::bind(&socket).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = folder.path().join("audit.log");
        // The filter holds for a thread for ever, so it is one of its own.
        let shut_in = thread::spawn(move || {
            enter(false).unwrap();
            let denied = Some(io::ErrorKind::PermissionDenied);
            let kind = |result: io::Result<()>| result.err().map(|error| error.kind());
            assert_eq!(kind(Command::new("/bin/true").status().map(drop)), denied);
            assert_eq!(kind(TcpStream::connect(address).map(drop)), denied);
            assert_eq!(kind(TcpListener::bind("127.0.0.1:0").map(drop)), denied);
            UnixStream::connect(&socket).unwrap();
            fs::write(&log, "x").unwrap();
            fs::rename(&log, log.with_extension("1")).unwrap();
            thread::spawn(|| vec![1_u8; 32 << 20].len()).join().unwrap()
        });
        assert_eq!(shut_in.join().unwrap(), 32 << 20);
    }

    #[test]
    fn with_a_partner_it_opens_tcp_connections_and_nothing_else() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shut_in = thread::spawn(move || {
            enter(true).unwrap();
            let denied = Some(io::ErrorKind::PermissionDenied);
            let kind = |result: io::Result<()>| result.err().map(|error| error.kind());
            TcpStream::connect(address).unwrap();
            assert_eq!(kind(TcpListener::bind("127.0.0.1:0").map(drop)), denied);
            assert_eq!(kind(UdpSocket::bind("127.0.0.1:0").map(drop)), denied);
            assert_eq!(kind(Command::new("/bin/true").status().map(drop)), denied);
        });
        shut_in.join().unwrap();
    }
}
