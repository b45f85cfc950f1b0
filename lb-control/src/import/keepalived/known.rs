//! What keepalived has and lvs.cf has not, with the reason. What is not in these tables either is told as
//! unknown.

use super::tree::Node;
use crate::import::report::Report;

/// Where a directive stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// Outside of any block.
    File,
    /// `global_defs`.
    Globals,
    /// `vrrp_instance` and `vrrp_sync_group`.
    Vrrp,
    /// `virtual_server`, `real_server` and their checkers.
    Server,
}

/// Where, the names with blanks in between, and the reason.
type Row = (Within, &'static str, &'static str);

const MAIL: &str = "lvs-xdp sends no mail";
const SCRIPTS: &str = "no scripts are run when something changes";
const ITSELF: &str = "it is about keepalived's own processes";
const TRACKING: &str = "which director is active does not depend on it";
const VRRP: &str = "it is of VRRP; directors exchange heartbeats here";
const ROUTES: &str = "routes, rules and addresses other than virtual IPs are not kept by lvs-xdp";
const UNKNOWN: &str = "no directive that is known here";
const ALL_CHECKED: &str = "checks come from whatever address routing chooses";

const TABLE: &[Row] = &[
    (
        Within::File,
        "static_ipaddress static_addresses static_routes static_rules virtual_routes \
         virtual_rules",
        ROUTES,
    ),
    (
        Within::File,
        "vrrp_script vrrp_track_process track_file vrrp_track_file track_group \
         static_track_group bfd_instance linkbeat_interfaces linkbeat_use_polling garp_group \
         interface_up_down_delays",
        TRACKING,
    ),
    (
        Within::File,
        "net_namespace net_namespace_ipvs namespace_with_ipsets instance use_pid_dir \
         child_wait_time",
        ITSELF,
    ),
    (Within::File, "SSL", "servers are not checked over TLS yet"),
    (
        Within::Globals,
        "notification_email notification_email_from smtp_server smtp_helo_name \
         smtp_connect_timeout smtp_alert smtp_alert_vrrp smtp_alert_checker no_email_faults \
         email_faults",
        MAIL,
    ),
    (
        Within::Globals,
        "router_id lvs_id",
        "it names the machine in keepalived's mails and messages",
    ),
    (
        Within::Globals,
        "script_user enable_script_security script_security startup_script \
         startup_script_timeout shutdown_script shutdown_script_timeout notify_fifo \
         notify_fifo_script vrrp_notify_fifo vrrp_notify_fifo_script lvs_notify_fifo \
         lvs_notify_fifo_script set_supplementary_groups use_symlink_paths max_auto_priority",
        SCRIPTS,
    ),
    (
        Within::Globals,
        "lvs_flush lvs_flush_onstop lvs_flush_on_stop nftables_ipvs nftables_priority",
        "there is no table of IPVS to be kept",
    ),
    (
        Within::Globals,
        "checker_log_all_failures snmp_server snmp_checker enable_snmp_vrrp \
         enable_snmp_keepalived enable_snmp_checker enable_snmp_rfc enable_snmp_rfcv2 \
         enable_snmp_rfcv3 enable_traps enable_dbus dbus_service_name dbus_no_interface_name \
         umask process_names process_name tmp_config_directory config_save_dir \
         reload_check_config reload_time_file reload_repeat reload_file json_version \
         data_use_instance state_dump_file stats_dump_file json_dump_file log_unknown_vrids \
         include_check random_seed disable_local_igmp vrrp_process_name checker_process_name \
         bfd_process_name instance use_pid_dir net_namespace \
         fifo_write_vrrp_states_on_reload lvs_netlink_cmd_rcv_bufs \
         lvs_netlink_cmd_rcv_bufs_force lvs_netlink_monitor_rcv_bufs \
         lvs_netlink_monitor_rcv_bufs_force child_wait_time linkbeat_use_polling \
         default_interface",
        ITSELF,
    ),
    (
        Within::Vrrp,
        "virtual_routes virtual_rules virtual_ipaddress_excluded_routes",
        ROUTES,
    ),
    (
        Within::Vrrp,
        "track_interface track_script track_file track_process track_bfd track_src_ip \
         dont_track_primary global_tracking sync_group_tracking_weight linkbeat_use_polling",
        TRACKING,
    ),
    (
        Within::Vrrp,
        "notify notify_master notify_backup notify_fault notify_stop notify_deleted \
         notify_master_rx_lower_pri notify_priority_changes",
        "`active_cmd` and `inactive_cmd` could run a program when the active role moves",
    ),
    (Within::Vrrp, "smtp_alert", MAIL),
    (
        Within::Vrrp,
        "authentication auth_hmac",
        "heartbeats have no password in lvs.cf",
    ),
    (
        Within::Vrrp,
        "nopreempt preempt preempt_delay priority",
        "the primary takes the active role from the backup whenever it can",
    ),
    (
        Within::Vrrp,
        "use_vmac use_vmac_addr vmac_xmit_base use_ipvlan vrf",
        "virtual IPs are on the interface itself, with its own MAC address",
    ),
    (
        Within::Vrrp,
        "virtual_router_id mcast_dst_ip version native_ipv6 check_unicast_src \
         unicast_fault_no_peer unicast_ttl old_unicast_checksum v3_checksum_as_v2 \
         garp_master_delay garp_master_repeat garp_lower_prio_delay garp_lower_prio_repeat \
         garp_master_refresh garp_master_refresh_repeat garp_extra_if timer_expired_backup \
         lower_prio_no_advert higher_prio_send_advert no_virtual_ipaddress \
         promote_secondaries accept no_accept skip_check_adv_addr strict_mode debug \
         kernel_rx_buf_size",
        VRRP,
    ),
    (
        Within::Server,
        "notify_up notify_down quorum_up quorum_down",
        SCRIPTS,
    ),
    (Within::Server, "smtp_alert", MAIL),
    (
        Within::Server,
        "hysteresis sorry_server_inhibit",
        "the sorry server steps in when no other is left",
    ),
    (
        Within::Server,
        "ha_suspend",
        "servers are checked whether this director has the address or not",
    ),
    (
        Within::Server,
        "omega",
        "nothing is run when lvs-xdp stops, and what it forwards goes on",
    ),
    (
        Within::Server,
        "warmup fast_recovery log_all_failures",
        "it has no directive; first checks are spread over the interval anyway",
    ),
    (
        Within::Server,
        "bindto bind_if bind_port fwmark",
        ALL_CHECKED,
    ),
    (
        Within::Server,
        "nat_mask",
        "keepalived has ignored it for long",
    ),
    (
        Within::Server,
        "regex_no_match regex_options regex_stack regex_min_offset regex_max_offset",
        "`expect` is searched for in all of the answer that is read",
    ),
    (
        Within::Server,
        "enable_sni sni_name tls_compliant",
        "servers are not checked over TLS yet",
    ),
];

/// Tells of a directive or block that is not carried over.
pub(super) fn tell(within: Within, node: &Node, report: &mut Report) {
    let name = node.name();
    let known = TABLE.iter().find(|(place, names, _)| {
        *place == within && names.split_ascii_whitespace().any(|known| known == name)
    });
    let is_process = [
        "_no_swap",
        "_priority",
        "_cpu_affinity",
        "_rt_",
        "_rlimit_",
        "bfd_",
        "checker_",
    ];
    let why = match known {
        Some((_, _, why)) => why,
        None if within != Within::Globals => UNKNOWN,
        None if is_process.iter().any(|part| name.contains(part)) => ITSELF,
        None if name.starts_with("vrrp_") => VRRP,
        None => UNKNOWN,
    };
    let written = if node.inside.is_some() {
        name.to_owned()
    } else {
        node.written()
    };
    report.left_out(&node.place, format!("`{written}`: {why}"));
}

/// Tells of words behind a directive that are not understood.
pub(super) fn tell_rest(node: &Node, from: usize, report: &mut Report) {
    if let Some(rest) = node.values().get(from..).filter(|rest| !rest.is_empty()) {
        let why = format!(
            "`{}` behind `{}` is not understood",
            rest.join(" "),
            node.name()
        );
        report.left_out(&node.place, why);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_is_there_once() {
        let mut seen = HashSet::new();
        for (within, names, _) in TABLE {
            for name in names.split_ascii_whitespace() {
                assert!(seen.insert((*within as u8, name)), "{name}");
            }
        }
    }
}
