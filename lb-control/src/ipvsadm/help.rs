//! `-h` and `-v`.

/// `-v`: the ipvsadm that this stands in for, as programs that ask for its version expect it.
pub(super) const VERSION: &str = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)";

/// The options, and what they do here.
const OPTIONS: &str = "
A command comes first:
  -A, --add-service     a virtual service comes
  -E, --edit-service    its scheduler, flags and persistence become different
  -D, --delete-service  it goes
  -C, --clear           all virtual services go
  -R, --restore         reads commands, a line each, and makes all changes or none
  -S, --save            writes the table as such commands
  -a, --add-server      a real server comes
  -e, --edit-server     its forwarding, weight and thresholds become different
  -d, --delete-server   it goes
  -L, -l, --list        lists services and servers, or connections
  -Z, --zero            counters begin anew
      --set TCP TCPFIN UDP   for how long silent connections are remembered,
                        in seconds; 0 leaves one as it is
      --start-daemon, --stop-daemon master|backup   another director is
                        told of connections as IPVS does, or heard
  -h, --help            this text
  -v, --version         the version of ipvsadm that this does the same as

SERVICE is one of:
  -t, --tcp-service HOST[:PORT]
  -u, --udp-service HOST[:PORT]
      --sctp-service HOST[:PORT]
  -f, --fwmark-service MARK   a group, by the mark that a firewall sets
  -6, --ipv6            the group is one of IPv6; after -f

What is said of a service:
  -s, --scheduler NAME  rr, wrr, lc, wlc (by default), lblc, lblcr, dh, sh,
                        sed, nq, fo, ovf, mh, twos
  -b, --sched-flags FLAGS   with commas: sh-fallback, sh-port, mh-fallback,
                        mh-port, flag-1, flag-2, flag-3
  -p, --persistent [SECONDS]   clients stay with their server; 360 by default
  -M, --netmask MASK    clients of a network stay together; the length of a
                        prefix for IPv6
      --pe NAME         a persistence engine; sip
  -o, --ops             every datagram is scheduled by itself

What is said of a real server:
  -r, --real-server HOST[:PORT]
  -g, --gatewaying      packets go to its MAC address (by default)
  -i, --ipip            packets go through a tunnel
  -m, --masquerading    packets are rewritten, and so are the replies
      --tun-type TYPE   ipip (by default), gue, gre
      --tun-port PORT   where the server's end of gue listens
      --tun-nocsum, --tun-csum, --tun-remcsum   the checksum of a tunnel
  -w, --weight NUMBER   its share, 0 to 65535; 1 by default
  -x, --u-threshold NUMBER   with as many connections it gets no more
  -y, --l-threshold NUMBER   with fewer it gets some again

What is listed, and how:
  -n, --numeric         addresses and ports instead of names
  -c, --connection      connections
      --timeout         what --set has set
      --daemon          daemons that tell or hear of connections
      --stats, --rate   what was counted, and how much comes in a second
  -X, --exact           large numbers in full
      --thresholds, --persistent-conn, --tun-info   other columns
      --nosort          in the order of the table
      --sort            in order, which is how it is anyway

What is said of a daemon:
      --mcast-interface NAME, --syncid 0-255, --sync-maxlen BYTES,
      --mcast-group ADDRESS, --mcast-port PORT, --mcast-ttl NUMBER
";

/// `-h`
pub(super) fn text(program: &str) -> String {
    let forms = [
        "-A|-E SERVICE [-s SCHEDULER] [-b FLAGS] [-p [SECONDS]] [-M MASK] [--pe NAME] [-o]",
        "-D SERVICE",
        "-C",
        "-R",
        "-S [-n]",
        "-a|-e SERVICE -r SERVER [-g|-i|-m] [-w WEIGHT] [-x UPPER] [-y LOWER] [TUNNEL]",
        "-d SERVICE -r SERVER",
        "-L|-l [SERVICE] [OPTIONS]",
        "-Z [SERVICE]",
        "--set TCP TCPFIN UDP",
        "-h | -v",
    ];
    let mut text = format!("{VERSION}\nUsage:\n");
    for form in forms {
        text += &format!("  {program} {form}\n");
    }
    text + OPTIONS
}
