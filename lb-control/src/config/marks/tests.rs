use super::*;

/// What is printed, and the lines that were left out with the reason's beginning.
type Row = (&'static str, &'static str, &'static [(usize, &'static str)]);

fn check(table: &[Row]) {
    for (text, printed, left_out) in table {
        let imported = import(text);
        let lines: Vec<_> = imported
            .to_string()
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
            .map(str::to_owned)
            .collect();
        assert_eq!(lines.join("|"), *printed, "{text}");
        let same = imported.left_out.len() == left_out.len()
            && imported
                .left_out
                .iter()
                .zip(*left_out)
                .all(|(found, (line, why))| found.line == *line && found.why.starts_with(why));
        assert!(same, "{text}: {:#?}", imported.left_out);
    }
}

#[test]
fn iptables() {
    check(&[
        ("", "", &[]),
        (
            "# by iptables-save\n*mangle\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 192.0.2.10/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x1/0xffffffff\n-A PREROUTING -d 192.0.2.10/32 -p tcp -m tcp --dport 443 -j MARK --set-xmark 0x1/0xffffffff\nCOMMIT\n",
            "fwmark = 1|match = \"tcp 192.0.2.10:80,443\"",
            &[],
        ),
        (
            "[7:420] -A PREROUTING -d 192.0.2.10 -p udp -m multiport --dports 53,1000:2000 -m comment --comment \"two words\" -j MARK --set-mark 16",
            "fwmark = 16|match = \"udp 192.0.2.10:53,1000-2000\"",
            &[],
        ),
        (
            "iptables -t mangle -I PREROUTING 1 -p esp -d 192.0.2.10 -j MARK --set-mark 0x10\niptables -t mangle -A PREROUTING -p 51 -d 192.0.2.10 -j MARK --set-mark 0x10",
            "fwmark = 16|match = \"ah 192.0.2.10\"|match = \"esp 192.0.2.10\"",
            &[],
        ),
        (
            "-A PREROUTING -d 2001:db8::10/128 -p sctp --dport 1:9 -j MARK --set-mark 2\n-A PREROUTING -d 192.0.2.10 -p tcp -j MARK --set-mark 2",
            "fwmark = 2|match = \"tcp 192.0.2.10\"|fwmark = 2|match = \"sctp [2001:db8::10]:1-9\"",
            &[],
        ),
        (
            "-A PREROUTING -d 192.0.2.10,192.0.2.11 -p tcp --dport 80 -j MARK --set-mark 3\n-A PREROUTING -d 192.0.2.11 -p tcp --dport 70:90 -j MARK --set-mark 3",
            "fwmark = 3|match = \"tcp 192.0.2.10:80\"|match = \"tcp 192.0.2.11:70-90\"",
            &[],
        ),
        (
            "-A PREROUTING -j ACCEPT\n-P PREROUTING ACCEPT\n-N other",
            "",
            &[],
        ),
        (
            "-A PREROUTING -s 10.0.0.0/8 -d 192.0.2.10 -p tcp -j MARK --set-mark 1",
            "",
            &[(1, "-s is not known")],
        ),
        (
            "-A PREROUTING ! -d 192.0.2.10 -p tcp -j MARK --set-mark 1\n-A PREROUTING -i eth0 -d 192.0.2.10 -p tcp -j MARK --set-mark 1",
            "",
            &[(1, "! is not known"), (2, "-i is not known")],
        ),
        (
            "\n-A PREROUTING -d 192.0.2.0/24 -p tcp -j MARK --set-mark 1",
            "",
            &[(2, "192.0.2.0/24 is a network")],
        ),
        (
            "-A PREROUTING -p tcp -j MARK --set-mark 1\n-A PREROUTING -d 192.0.2.10 -j MARK --set-mark 1\n-A PREROUTING -d 192.0.2.10 -p icmp -j MARK --set-mark 1",
            "",
            &[
                (1, "no destination address"),
                (2, "no protocol"),
                (3, "protocol icmp is not balanced"),
            ],
        ),
        (
            "-A PREROUTING -d 192.0.2.10 -p tcp -j MARK --set-xmark 0x1/0xff\n-A PREROUTING -d 192.0.2.10 -p tcp -j MARK --or-mark 0x1\n-A PREROUTING -d 192.0.2.10 -p tcp -j MARK --set-mark 0\n-A PREROUTING -d 192.0.2.10 -p tcp -j MARK --set-mark 0x80000000",
            "",
            &[
                (1, "0x1/0xff sets only some bits"),
                (2, "--or-mark is not known"),
                (3, "mark 0 stands for nothing"),
                (4, "0x80000000 is too large"),
            ],
        ),
        (
            "-A FORWARD -d 192.0.2.10 -p tcp -j MARK --set-mark 1\n-A web -d 192.0.2.10 -p tcp -j MARK --set-mark 1\n*nat\n-A PREROUTING -d 192.0.2.10 -p tcp -j MARK --set-mark 1\n-A PREROUTING -j CONNMARK --restore-mark",
            "",
            &[
                (1, "a mark that is set in FORWARD comes too late"),
                (2, "chain web is reached by other rules"),
                (4, "marks are set in table mangle, not nat"),
                (5, "-j CONNMARK is not known"),
            ],
        ),
        (
            "-A PREROUTING -d 192.0.2.10 -p tcp --dport 80 -j MARK --set-mark 1\n-A PREROUTING -d 192.0.2.10 -p tcp --dport 1:100 -j MARK --set-mark 2",
            "fwmark = 1|match = \"tcp 192.0.2.10:80\"",
            &[(2, "TCP 192.0.2.10:1-100 has mark 1 already, by line 1")],
        ),
    ]);
}

#[test]
fn nft() {
    check(&[
        (
            "table ip mangle {\n\tchain PREROUTING {\n\t\ttype filter hook prerouting priority mangle; policy accept;\n\t\tip daddr 192.0.2.10 tcp dport { 80, 443, 1000-2000 } counter packets 1 bytes 60 meta mark set 0x00000001\n\t\tip daddr { 192.0.2.10, 192.0.2.11 } udp dport 53 mark set 2 accept comment \"of names\"\n\t}\n}\n",
            "fwmark = 1|match = \"tcp 192.0.2.10:80,443,1000-2000\"|fwmark = 2|match = \"udp 192.0.2.10:53\"|match = \"udp 192.0.2.11:53\"",
            &[],
        ),
        (
            "table inet filter {\n chain in {\n type filter hook input priority 0;\n ip daddr 192.0.2.10 tcp dport { 80,\n 443 } mark set 1\n ip daddr 192.0.2.10 meta l4proto esp meta mark set 1\n ip6 daddr 2001:db8::10 ip6 nexthdr 51 meta mark set 1\n tcp dport 22 accept\n }\n}\n",
            "fwmark = 1|match = \"tcp 192.0.2.10:80,443\"|match = \"esp 192.0.2.10\"|fwmark = 1|match = \"ah 2001:db8::10\"",
            &[],
        ),
        (
            "table ip t {\n chain c {\n type filter hook forward priority 0;\n ip daddr 192.0.2.10 tcp dport 80 mark set 1\n }\n chain d {\n ip daddr 192.0.2.10 tcp dport 80 mark set 1\n }\n}\n",
            "",
            &[
                (4, "a mark that is set in hook forward"),
                (7, "this chain is reached by other rules"),
            ],
        ),
        (
            "table ip t {\n chain c {\n type filter hook prerouting priority 0;\n ip daddr @vips tcp dport 80 mark set 1\n iifname \"eth0\" ip daddr 192.0.2.10 tcp dport 80 mark set 1\n ip daddr != 192.0.2.10 tcp dport 80 mark set 1\n ip daddr 192.0.2.10 tcp dport http mark set 1\n ip daddr 192.0.2.10 tcp dport 80 mark set mark or 1\n }\n}\n",
            "",
            &[
                (4, "the set @vips is not followed"),
                (5, "`iifname \"eth0\"` is not known"),
                (6, "`!=` is not known"),
                (7, "http is no port"),
                (8, "mark is no mark"),
            ],
        ),
    ]);
}

/// What is printed is what lvs.cf reads.
#[test]
fn printed_lines_are_read() {
    let rules = "-A PREROUTING -d 192.0.2.10 -p tcp -m multiport --dports 80,443,1000:2000 -j MARK --set-mark 1\n-A PREROUTING -d 192.0.2.10 -p esp -j MARK --set-mark 1\n-A PREROUTING -d 192.0.2.10 -p udp -j MARK --set-mark 1\n";
    let imported = import(rules);
    let text = format!(
        "virtual v {{\nactive = 1\naddress = 192.0.2.10 eth0\n{imported}server s {{\nactive = 1\naddress = 10.0.0.5\n}}\n}}\n"
    );
    let said = crate::config::parse("lvs.cf", text.as_bytes());
    let (_, site) = said
        .site
        .unwrap_or_else(|| panic!("{text}: {:?}", said.diagnostics));
    let mut selectors = site.services[0].selectors.clone();
    selectors.sort();
    assert_eq!(&selectors, imported.groups.values().next().unwrap());
}
