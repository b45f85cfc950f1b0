//! One director of a pair: what it hears and says, and what follows. No socket and no clock.

use std::time::Duration;

use super::{
    key::Key,
    lease::Lease,
    machine::{Begin, Deed, Heard, Machine, Node, Refused, Role, Terms, Unfit, Why},
    piranha,
    session::{Accepted, Profile, Session},
    wire::{Authentication, Message, Path},
};

/// Strangers are answered to no more often.
const MANNERS: Duration = Duration::from_millis(10);

/// How heartbeats are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Ours.
    #[default]
    Own,
    /// The four bytes of Piranha's pulse.
    Piranha,
}

/// Everything that lvs.cf says about the pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Which of the two this node is.
    pub node: Node,
    /// There is a partner.
    pub pair: bool,
    /// Time between two heartbeats.
    pub keepalive: Duration,
    /// Silence after which the partner is dead.
    pub deadtime: Duration,
    /// The backup hands over to a primary that came back.
    pub failback: bool,
    /// How heartbeats are written.
    pub format: Format,
    /// The keys; the first one signs.
    pub keys: Vec<Key>,
    /// Which messages are believed.
    pub authentication: Authentication,
    /// What the file comes down to.
    pub config: u64,
    /// Which services both have; Piranha's heartbeats tell.
    pub services: piranha::Services,
    /// How long failover services may take to stop.
    pub letting_go: Duration,
}

impl Rules {
    fn terms(&self) -> Terms {
        Terms {
            node: self.node,
            pair: self.pair,
            keepalive: self.keepalive,
            deadtime: self.deadtime,
            failback: self.failback,
            acknowledged: self.format == Format::Own,
            letting_go: self.letting_go,
        }
    }

    fn profile(&self) -> Profile {
        Profile {
            node: self.node,
            keepalive: self.keepalive,
            deadtime: self.deadtime,
            config: self.config,
        }
    }
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The data plane has this right.
    Lease(Lease),
    /// Send these, one by each path.
    Send([Vec<u8>; 2]),
    /// Put the addresses on their interfaces and announce them.
    Raise(Why),
    /// Take them off, and tell [`Director::let_go`].
    Lower(Why),
    /// Announce them again.
    Announce(Why),
    /// Tell people.
    Tell(Told),
    /// The daemon may end.
    End,
}

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The partner is heard, for the first time or again.
    Partner(String),
    /// It is not any more.
    Silent,
    /// A path works, or does not.
    Path(Path, bool),
    /// Something is not as it ought to be.
    Trouble(String),
    /// This node may be active again, or may not.
    Fitness(String),
}

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathState {
    /// When a message came by it last.
    pub heard: Option<Duration>,
    /// How many came.
    pub received: u64,
    /// How many were not heeded.
    pub rejected: u64,
    /// The partner hears this node by it.
    pub is_heard: bool,
    /// It worked when it was looked at last.
    is_up: bool,
}

/// One director.
#[derive(Debug)]
pub struct Director {
    rules: Rules,
    machine: Machine,
    session: Session,
    paths: [PathState; 2],
    /// What the partner said last.
    message: Option<Message>,
    lease: Option<Lease>,
    answered: Option<Duration>,
    was_heard: bool,
    /// What was already complained about.
    complaint: Option<String>,
    told: Vec<Told>,
}

impl Director {
    /// One that begins now. The epoch is random and not 0.
    #[must_use]
    pub fn new(
        rules: Rules,
        begin: Begin,
        unfit: Option<Unfit>,
        epoch: u64,
        now: Duration,
    ) -> Self {
        let (keys, authentication) = (rules.keys.clone(), rules.authentication);
        Self {
            machine: Machine::new(rules.terms(), begin, unfit, now),
            session: Session::new(epoch, rules.profile(), keys, authentication),
            paths: Default::default(),
            message: None,
            lease: None,
            answered: None,
            was_heard: false,
            complaint: None,
            told: Vec::new(),
            rules,
        }
    }

    /// Other rules hold from now on.
    pub fn amend(&mut self, rules: Rules, now: Duration) {
        let (keys, authentication) = (rules.keys.clone(), rules.authentication);
        self.session.amend(rules.profile(), keys, authentication);
        self.machine.amend(rules.terms(), now);
        if !rules.pair {
            self.paths = Default::default();
            self.message = None;
            self.was_heard = false;
        }
        self.complaint = None;
        self.rules = rules;
    }

    /// The rules that hold.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Who decides.
    #[must_use]
    pub const fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What is known of the paths.
    #[must_use]
    pub const fn paths(&self) -> &[PathState; 2] {
        &self.paths
    }

    /// What the partner said last, in our format.
    #[must_use]
    pub const fn message(&self) -> Option<&Message> {
        self.message.as_ref()
    }

    /// A datagram has come from the partner's address. The error says why it is not heeded.
    ///
    /// # Errors
    /// If it is not heeded.
    pub fn receive(&mut self, path: Path, bytes: &[u8], now: Duration) -> Result<(), String> {
        let received = self.understand(path, bytes, now);
        if let Some(state) = self.paths.get_mut(path.index()) {
            match &received {
                Ok(()) => {
                    state.heard = Some(now);
                    state.received += 1;
                }
                Err(_) => state.rejected += 1,
            }
        }
        received
    }

    fn understand(&mut self, path: Path, bytes: &[u8], now: Duration) -> Result<(), String> {
        if self.rules.format == Format::Piranha {
            let said = piranha::decode(bytes, self.rules.services);
            let (role, gives_way) = match said.map_err(|error| error.to_string())? {
                piranha::Said::Part(role) => (role, false),
                piranha::Said::GiveWay => (Role::Standby, true),
            };
            let heard = Heard {
                role,
                fit: true,
                outranks: self.rules.node == Node::Backup,
                wants_answer: false,
                deadtime: Duration::ZERO,
                back_within: Duration::ZERO,
                answers: None,
            };
            self.machine.heard(&heard, now);
            // It says so until this node has given way. If it cannot, the other one takes what it wants.
            if gives_way && self.machine.hand_over(now).is_ok() {
                let text = "PARTNER HAS TOLD US TO GO INACTIVE!".to_owned();
                self.told.push(Told::Partner(text));
            }
            return Ok(());
        }
        match self
            .session
            .read(path, bytes)
            .map_err(|error| error.to_string())?
        {
            Accepted::News {
                heard,
                message,
                is_new,
            } => {
                for (state, hears) in self.paths.iter_mut().zip(message.hears) {
                    state.is_heard = hears;
                }
                if is_new {
                    self.complaint = None;
                }
                self.compare(&message);
                self.message = Some(message);
                self.machine.heard(&heard, now);
                Ok(())
            }
            Accepted::Known => Ok(()),
            Accepted::Stranger => {
                if self.answered.is_none_or(|at| now >= at + MANNERS) {
                    self.answered = Some(now);
                    self.machine.answer(now);
                }
                Err("a heartbeat that answers to nothing: the partner begins, or does not hear this node".into())
            }
        }
    }

    /// Whether both nodes have the same in mind.
    fn compare(&mut self, message: &Message) {
        let complaint = if message.is_primary == (self.rules.node == Node::Primary) {
            let node = if message.is_primary {
                "primary"
            } else {
                "backup"
            };
            format!("the partner is {node} too: lvs.cf names other addresses there")
        } else if message.config != self.rules.config {
            "the partner's lvs.cf is another one: copy it, or it will serve other things".to_owned()
        } else {
            self.complaint = None;
            return;
        };
        if self.complaint.as_ref() != Some(&complaint) {
            self.complaint = Some(complaint.clone());
            self.told.push(Told::Trouble(complaint));
        }
    }

    /// Whether the partner's lvs.cf is the same; nothing if it does not say.
    #[must_use]
    pub fn is_same_config(&self) -> Option<bool> {
        let message = self.message.as_ref()?;
        Some(message.config == self.rules.config)
    }

    /// This node did not run for a while: datagrams that waited meanwhile are not to be given to it.
    pub fn slept(&mut self) {
        self.session.slept();
    }

    /// Until when [`Self::run`] has to be called.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.machine.deadline()
    }

    /// The addresses are off.
    pub fn let_go(&mut self, now: Duration) {
        self.machine.let_go(now);
    }

    /// Whether this node may be active.
    pub fn fitness(&mut self, unfit: Option<Unfit>, now: Duration) {
        let before = self.machine.said_unfit();
        if before == unfit.as_ref() {
            return;
        }
        if let Some(told) = fitness_told(before, unfit.as_ref()) {
            self.told.push(Told::Fitness(told));
        }
        self.machine.fitness(unfit, now);
    }

    /// The gateway that is tracked has answered then, or none is tracked.
    pub fn gateway(&mut self, answered: Option<Duration>, now: Duration) {
        self.machine.gateway(answered, now);
    }

    /// An operator wants the partner to be active.
    ///
    /// # Errors
    /// If it would not take over.
    pub fn hand_over(&mut self, now: Duration) -> Result<(), Refused> {
        self.machine.hand_over(now)
    }

    /// The daemon is to end: for good, or to be back within this time.
    pub fn stop(&mut self, back_within: Option<Duration>, now: Duration) {
        self.machine.stop(back_within, now);
    }

    /// Time has passed, or something was told: what is to be done now, in order.
    pub fn run(&mut self, now: Duration) -> Vec<Output> {
        self.machine.tick(now);
        let mut outputs = Vec::new();
        for deed in self.machine.take_deeds() {
            let output = match deed {
                Deed::Send if !self.rules.pair => continue,
                Deed::Send => {
                    let hears = self.hears(now);
                    let say = self.machine.say(now);
                    self.note_lease(&mut outputs);
                    Output::Send(match self.rules.format {
                        Format::Own => self.session.write(&say, hears, now),
                        Format::Piranha => {
                            [piranha::encode(say.role, self.rules.services); 2].map(Vec::from)
                        }
                    })
                }
                Deed::Raise(why) => Output::Raise(why),
                Deed::Lower(why) => Output::Lower(why),
                Deed::Announce(why) => Output::Announce(why),
                Deed::End => Output::End,
            };
            self.note_lease(&mut outputs);
            outputs.push(output);
        }
        self.note_lease(&mut outputs);
        self.look_around(now);
        outputs.extend(self.told.drain(..).map(Output::Tell));
        outputs
    }

    fn note_lease(&mut self, outputs: &mut Vec<Output>) {
        let lease = self.machine.lease();
        if self.lease != Some(lease) {
            self.lease = Some(lease);
            outputs.push(Output::Lease(lease));
        }
    }

    /// By which paths the partner is heard.
    #[must_use]
    pub fn hears(&self, now: Duration) -> [bool; 2] {
        self.paths
            .map(|path| path.heard.is_some_and(|at| now < at + self.rules.deadtime))
    }

    fn look_around(&mut self, now: Duration) {
        if !self.rules.pair {
            return;
        }
        let is_heard = self
            .machine
            .partner()
            .is_some_and(|it| it.role != Role::Goodbye);
        if is_heard != self.was_heard {
            self.was_heard = is_heard;
            self.told.push(match self.machine.partner() {
                Some(partner) if is_heard => {
                    Told::Partner(format!("the partner is heard: {}", partner.role.name()))
                }
                Some(_) => Told::Partner("the partner has stopped".to_owned()),
                None => Told::Silent,
            });
        }
        let hears = self.hears(now);
        for ((state, path), hears) in self.paths.iter_mut().zip(Path::ALL).zip(hears) {
            if state.is_up != hears {
                state.is_up = hears;
                self.told.push(Told::Path(path, hears));
            }
        }
    }
}

/// In Piranha's words, where it had words.
fn fitness_told(before: Option<&Unfit>, now: Option<&Unfit>) -> Option<String> {
    if before == now {
        return None;
    }
    Some(match (before, now) {
        (_, Some(Unfit::Link(name))) => {
            format!("{name}: link down. Local NIC link failure: Pulse disabled")
        }
        (_, Some(Unfit::Gateway(gateway))) => {
            format!("the gateway {gateway} does not answer: this node does not become active")
        }
        (_, Some(Unfit::Service(what))) => {
            format!("failover service {what}: the partner would do better")
        }
        (_, Some(Unfit::Hung)) => "the daemon does not get on: this node gives way".to_owned(),
        (_, Some(Unfit::NotReady)) | (None, None) => return None,
        (Some(Unfit::Link(_)), None) => "Local NIC link(s) restored: Pulse enabled".to_owned(),
        (Some(Unfit::Gateway(gateway)), None) => format!("the gateway {gateway} answers"),
        (Some(Unfit::Hung), None) => "the daemon gets on again".to_owned(),
        (Some(Unfit::Service(_)), None) => {
            "no failure of a failover service keeps this node from being active".to_owned()
        }
        (Some(Unfit::NotReady), None) => return None,
    })
}
