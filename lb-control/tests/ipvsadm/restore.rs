//! Saving and restoring: nothing is lost, and all is done or nothing.

use std::collections::HashMap;

use lb_control::{
    control::{
        change::{Change, Why},
        table::TimeoutsRow,
    },
    ipvsadm::Program,
};

use super::{
    director::{Ended, Fixed, Rules, run, run_as},
    fixture,
};

pub(crate) fn restore(director: &mut Fixed, input: &str) -> Ended {
    run_as(
        Program::Ipvsadm,
        "ipvsadm",
        director,
        &["-R"],
        input,
        &Rules(""),
    )
}

fn is_refused(director: &mut Fixed, input: &str, err: &str, status: u8) {
    let ended = restore(director, input);
    assert_eq!(
        (ended.err.as_str(), ended.status),
        (err, status),
        "{input:?}"
    );
    assert_eq!(director.changes(), [], "{input:?}");
}

#[test]
fn what_is_as_by_default_is_saved_as_ipvsadm_saves_it() {
    let golden = include_str!("../data/ipvsadm-listings.txt");
    let saved = golden.split("$ ipvsadm -S -n\n").nth(1).unwrap();
    let saved = saved.split("[exit").next().unwrap();
    let mut table = fixture::table();
    table.sync_daemons.clear();
    for server in table.services.iter_mut().flat_map(|row| &mut row.servers) {
        (server.upper, server.lower) = (0, 0);
    }
    assert_eq!(run(&mut Fixed::with(table), &["-Sn"]).out, saved);
}

#[test]
fn what_is_saved_is_restored() {
    let mut table = fixture::table();
    table.timeouts = TimeoutsRow {
        tcp: 60,
        tcp_fin: 5,
        udp: 30,
    };
    let saved = run(&mut Fixed::with(table.clone()), &["-S", "-n"]);
    let mut director = Fixed::default();
    let ended = restore(&mut director, &saved.out);
    assert_eq!(ended.status, 0, "{}", ended.err);
    let changes = director.changes();
    assert_eq!(changes.len(), saved.out.lines().count());
    assert_eq!(
        changes[0],
        Change::SetTimeouts {
            tcp: 60,
            tcp_fin: 5,
            udp: 30
        }
    );
    let (mut services, mut servers) = (HashMap::new(), HashMap::new());
    for change in &changes {
        if let Change::AddService { service, terms } = change {
            services.insert(*service, terms);
        } else if let Change::AddServer {
            service,
            server,
            terms,
        } = change
        {
            servers.insert((*service, *server), terms);
        }
    }
    for row in &table.services {
        let terms = services[&row.service];
        assert_eq!(terms.scheduler, Some(row.scheduler));
        assert_eq!(terms.flags, Some(row.flags));
        assert_eq!(terms.one_packet, Some(row.one_packet));
        let persistence = row.persistence.as_ref();
        assert_eq!(
            terms.persistent,
            Some(persistence.map_or(0, |persistence| persistence.timeout))
        );
        if let Some(persistence) = persistence {
            assert_eq!(terms.mask, Some(persistence.mask));
            let engine = persistence.engine.clone().unwrap_or_default();
            assert_eq!(terms.engine, Some(engine));
        }
        for server in &row.servers {
            let terms = servers[&(row.service, server.server)];
            assert_eq!(terms.forwarding, Some(server.forwarding));
            assert_eq!(terms.weight, Some(server.configured_weight));
            assert_eq!(terms.upper, Some(server.upper));
            assert_eq!(terms.lower, Some(server.lower));
        }
    }
}

#[test]
fn a_list_with_an_error_does_nothing_and_names_the_line() {
    for (input, err, status) in [
        (
            "-A -t 192.0.2.1:80\n-A -t 192.0.2.1:81 -w 3\n-C\n",
            "line 2: Illegal 'weight' option with the 'add-service' command\n",
            2,
        ),
        ("\n\n-A -t\n", "line 3: -t: missing argument\n", 255),
        ("-A -6\n", "line 1: -6 used before -f\n", 2),
        ("foo\n", "line 1: `foo' is no command\n", 255),
        ("-R\n", "line 1: only changes can be restored\n", 255),
        ("-L\n", "line 1: only changes can be restored\n", 255),
        (
            "-C\n-A -t 192.0.2.1:80 -s fastest\n",
            "line 2: Scheduler or persistence engine not found\n",
            255,
        ),
    ] {
        is_refused(&mut Fixed::default(), input, err, status);
    }
}

#[test]
fn a_list_that_the_daemon_refuses_names_the_line() {
    let input = "# services\n-A -t 192.0.2.1:80\n\n-a -t 192.0.2.1:80 -r 10.0.0.1:80\n";
    for (index, why, err) in [
        (0, Why::ServiceExists, "line 2: Service already exists\n"),
        (1, Why::NoService, "line 4: Service not defined\n"),
        (1, Why::ServerExists, "line 4: Destination already exists\n"),
        (1, Why::Full, "line 4: Memory allocation problem\nbecause\n"),
        (7, Why::NoServer, "No such destination\n"),
    ] {
        is_refused(&mut Fixed::refusing(index, why), input, err, 255);
    }
}

#[test]
fn comments_blanks_and_the_name_of_the_program_do_not_count() {
    let mut director = Fixed::default();
    let input = "# saved\n   # yesterday\n\n \t \nipvsadm -C\r\n  --set 1 2 3  \n";
    assert_eq!(restore(&mut director, input).status, 0);
    assert_eq!(
        director.changes(),
        [
            Change::Clear,
            Change::SetTimeouts {
                tcp: 1,
                tcp_fin: 2,
                udp: 3
            }
        ]
    );
    let mut director = Fixed::default();
    assert_eq!(restore(&mut director, "# nothing\n").status, 0);
    assert_eq!(director.changes(), []);
}

#[test]
fn the_scripts_do_what_they_do() {
    let mut director = Fixed::default();
    let ended = run_as(
        Program::Restore,
        "ipvsadm-restore",
        &mut director,
        &[],
        "-D -f 7\n",
        &Rules(""),
    );
    assert_eq!(ended.status, 0);
    let [Change::Clear, Change::RemoveService { .. }] = director.changes()[..] else {
        panic!("{:?}", director.changes());
    };
    let save = |words: &[&str]| {
        let mut director = Fixed::with(fixture::table());
        run_as(
            Program::Save,
            "/usr/sbin/ipvsadm-save",
            &mut director,
            words,
            "",
            &Rules(""),
        )
    };
    let by_command = |words: &[&str]| run(&mut Fixed::with(fixture::table()), words);
    assert_eq!(save(&["-n"]), by_command(&["-S", "-n"]));
    assert_eq!(save(&["rules"]), by_command(&["-S"]));
    let explained = save(&["-x"]);
    assert_eq!(
        (explained.err.as_str(), explained.status),
        (
            "ipvsadm-save: Script to save the IPVS table to stdout.\n   With the -n option, prints out the table in numeric format.\n",
            1
        )
    );
    let mut director = Fixed {
        is_closed: true,
        ..Fixed::default()
    };
    let denied = run_as(
        Program::Restore,
        "ipvsadm-restore",
        &mut director,
        &[],
        "",
        &Rules(""),
    );
    assert_eq!(
        (denied.err.as_str(), denied.status),
        ("Permission denied (you must be root)\n", 255)
    );
}
