//! Which of two directors is active: the rules, without a socket and without a clock. Time is what the caller says
//! it is: the time since boot, which goes on while the machine sleeps and never steps back.

use std::time::Duration;

use super::lease::Lease;

/// How often a message that must not be lost is said again.
const BURST: u32 = 3;

/// Time between those.
const BURST_PAUSE: Duration = Duration::from_millis(5);

/// After a link was down messages take longer at first: the kernel looks at links and asks for neighbours once a second.
const LINK_SETTLES: Duration = Duration::from_secs(2);

/// How long a node that ends waits for its partner to take over: a goodbye that answers to something old is believed when
/// it is said again, in answer to what the partner says now.
const FAREWELL: Duration = Duration::from_millis(100);

/// For this part of `deadtime` it counts what the partner has said of hearing this node. It says something each third.
const NEAR: f64 = 0.45;

/// Which of the two a node is: it follows from the addresses that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// The one that goes first.
    Primary,
    /// The other one.
    Backup,
}

/// The part that a node plays, as it tells its partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It has just begun to listen.
    Starting,
    /// It could take over.
    Standby,
    /// It holds the addresses.
    Active,
    /// It does not steer any more, but the addresses are still coming off.
    Leaving,
    /// It holds nothing and wants the partner to take over.
    Yielding,
    /// It holds nothing and is about to end.
    Goodbye,
    /// It is about to end, holds everything, and will be back within the time that it says.
    Absent,
}

impl Role {
    /// As it is written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Standby => "standby",
            Self::Active => "active",
            Self::Leaving => "leaving",
            Self::Yielding => "yielding",
            Self::Goodbye => "gone",
            Self::Absent => "absent",
        }
    }

    /// Whether the addresses may be on a node that says so.
    const fn holds(self) -> bool {
        match self {
            Self::Active | Self::Leaving | Self::Absent => true,
            Self::Starting | Self::Standby | Self::Yielding | Self::Goodbye => false,
        }
    }
}

/// Why a node must not be the active one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// An interface of a heartbeat network is down (`monitor_links`).
    Link(String),
    /// The gateway does not answer (`track_gateway`).
    Gateway(String),
    /// The rest of the daemon has not been heard of for too long.
    Hung,
    /// The daemon has not read everything yet.
    NotReady,
    /// A failover service does not run here: its name, and what is wrong.
    Service(String),
}

/// What holds for a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Which of the two this node is.
    pub node: Node,
    /// There is a partner. Without one the node is active, and there is no lease.
    pub pair: bool,
    /// Time between two heartbeats.
    pub keepalive: Duration,
    /// Silence after which the partner is dead, and for how long a lease is good.
    pub deadtime: Duration,
    /// The backup hands over to a primary that came back.
    pub failback: bool,
    /// The partner says what it has heard of this node; Piranha's does not.
    pub acknowledged: bool,
    /// How much longer than `deadtime` letting go may take: failover services are stopped before the addresses come off.
    pub letting_go: Duration,
}

impl Terms {
    /// Time between two heartbeats: three of them fit into `deadtime`, whatever is said.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.keepalive.min(self.deadtime / 3)
    }
}

/// How a machine begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// It listens first.
    Listen,
    /// It is active at once: an operator says so.
    Forced,
    /// A daemon before this one was active, and its lease is not over.
    Resume(Duration),
}

/// What a believed message of the partner says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Its part.
    pub role: Role,
    /// It may become active.
    pub fit: bool,
    /// Should both be active, it is the one that stays.
    pub outranks: bool,
    /// It wants an answer at once.
    pub wants_answer: bool,
    /// How long its lease is good after it has said something.
    pub deadtime: Duration,
    /// Within which time it will be back, if it is absent.
    pub back_within: Duration,
    /// When this node said what the partner had heard last: the message is younger than that.
    pub answers: Option<Duration>,
}

/// What a message to the partner is to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Say {
    /// The part of this node.
    pub role: Role,
    /// It may become active.
    pub fit: bool,
    /// An answer is wanted at once.
    pub wants_answer: bool,
    /// Within which time it will be back, if it is absent.
    pub back_within: Duration,
}

/// Why something is done: its text is what the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// There is no partner.
    Alone,
    /// An operator said so at the start.
    Forced,
    /// A daemon before this one was active.
    Resumed,
    /// Nothing was heard of the partner for too long.
    PartnerDead,
    /// The partner is there, and neither of them is active.
    PartnerInactive,
    /// The partner has let go.
    PartnerYields,
    /// The partner is about to end.
    PartnerLeaves,
    /// The partner is active too, and goes first.
    PartnerActive,
    /// The partner is active too, for it does not hear this node.
    NotHeard,
    /// The partner was active too, and gives way.
    Healed,
    /// The lease is over: this node did not run for a while, or the partner does not hear it.
    LeaseOver,
    /// This node is not fit.
    Unfit,
    /// An operator said so.
    Ordered,
    /// The primary is back.
    Failback,
    /// The daemon is about to end.
    Stopping,
    /// The daemon begins, and does not know what one before it left.
    Beginning,
}

impl Why {
    /// In the words of Piranha, where it had words.
    #[must_use]
    pub const fn text(self, node: Node) -> &'static str {
        match (self, node) {
            (Self::Alone, _) => "no backup is active: activating lvs",
            (Self::Forced, _) => "Forced active on startup: activating lvs",
            (Self::Resumed, _) => "still active: the lease of the daemon before this one holds",
            (Self::PartnerDead, _) => "partner dead: activating lvs",
            (Self::PartnerInactive, Node::Primary) => "backup inactive: activating lvs",
            (Self::PartnerInactive, Node::Backup) => "primary inactive: activating lvs",
            (Self::PartnerYields, _) => "partner hands over: activating lvs",
            (Self::PartnerLeaves, _) => "partner stops: activating lvs",
            (Self::PartnerActive, _) => "partner active: deactivating LVS",
            (Self::NotHeard, _) => "partner active and deaf to this node: deactivating LVS",
            (Self::Healed, _) => "partner active: resending arps",
            (Self::LeaseOver, _) => "the lease is over: deactivating LVS",
            (Self::Unfit, _) => "Pulse disabled: deactivating LVS",
            (Self::Ordered, _) => "handing over to the partner: deactivating LVS",
            (Self::Failback, _) => "primary is back: deactivating LVS",
            (Self::Stopping, _) => "stopping: deactivating LVS",
            (Self::Beginning, _) => "listening for the partner",
        }
    }
}

/// What the caller has to do, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Put the addresses on their interfaces and announce them.
    Raise(Why),
    /// Take the addresses off and tell [`Machine::let_go`] when it is done.
    Lower(Why),
    /// Announce the addresses again.
    Announce(Why),
    /// Send a message: what [`Machine::say`] says.
    Send,
    /// Everything has been said: the daemon may end.
    End,
}

/// Why an operator's order to hand over is not obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is nothing to hand over.
    #[error("this node is not active; say it to the one that is")]
    NotActive,
    /// There is nobody to hand over to.
    #[error("there is no partner: `backup_active` is 0")]
    NoPartner,
    /// The same.
    #[error("the partner is not heard")]
    Silent,
    /// It would not take over.
    #[error("the partner is there, but not able: its link, its gateway or its daemon fails")]
    NotAble,
    /// It would not know.
    #[error("the partner is heard, but does not hear this node")]
    Deaf,
}

/// What is known of the partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partner {
    /// When it was heard last.
    pub heard: Duration,
    /// What it said then.
    pub role: Role,
    /// It may become active.
    pub fit: bool,
    /// When this node said what it had heard last; its message is younger.
    pub answers: Option<Duration>,
    /// Its silence about this node began then: it will not take over before its time from then on is over.
    hears: Duration,
    /// It is heard, and has not heard this node for a while.
    pub deaf: bool,
    /// Since when it could have taken over, without a break.
    able_since: Option<Duration>,
    /// How long its lease is good.
    deadtime: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Standby,
    /// Active, with a lease until then.
    Active(Duration),
    /// The addresses come off; at the end of this time it is taken for done.
    Leaving {
        end: Duration,
        then: Then,
    },
    /// The daemon ends, has let go, and until then listens whether the partner takes over.
    Parting(Duration),
    /// The daemon ends, and nothing is left to say.
    Gone,
    /// The daemon ends, and is back before this.
    Absent(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Standby,
    Yield,
    Goodbye,
}

/// One node of a pair.
///
/// What Piranha's pulse did is kept where it says nothing else (its decision table, lvs mode):
///
/// | this node | what happens | what it does |
/// | --- | --- | --- |
/// | standby | nothing heard for `deadtime` (the longer of both) | "partner dead: activating lvs" |
/// | standby | partner stopped, this is the primary | "backup inactive: activating lvs", at once |
/// | standby | partner stopped, this is the backup | *at once in Piranha, so that both were active for a moment:* "primary inactive: activating lvs" after `deadtime`, or at once if the primary says that it is not fit |
/// | standby | partner running | nothing: who is active stays so |
/// | active, backup | partner running | "partner active: deactivating LVS" |
/// | active, primary | partner running | "partner active: resending arps", stays; *ours announces once more when the partner has given way* |
/// | active | partner stopped or silent | nothing |
///
/// And this is ours:
///
/// | this node | what happens | what it does |
/// | --- | --- | --- |
/// | starting | nothing yet | says so: who hears that knows that nobody is active there; listens for `deadtime` |
/// | starting | the lease that a daemon before it left holds | goes on as active |
/// | standby | partner says goodbye, or hands over | takes over at once |
/// | standby | partner is absent for so long | waits for so long instead of `deadtime` |
/// | standby, or active | it did not run itself for half of `deadtime` | what it did not hear meanwhile was no silence |
/// | standby | nothing heard for `deadtime`, and of `track_gateway` neither since the partner was due | waits for the gateway: it may be this node that is cut off |
/// | standby, not fit | anything | never takes over |
/// | standby, not fit | its link or gateway is back | is fit again when the partner is heard, or after two seconds; what it did not hear meanwhile was no silence |
/// | active, not fit | partner fit, or not heard | hands over |
/// | active, not fit | partner not fit either | stays: nothing would be gained |
/// | active | its lease is over | stops steering, takes the addresses off, listens again |
/// | active | partner is heard, but has not heard this node for half of `deadtime` | asks for an answer; unless there is one the lease ends when the partner will take over |
/// | active | partner active, does not hear this node, for half of `deadtime` | gives way, even the primary |
/// | active, backup | primary is back, `failback = 1` | hands over when the primary was fit for `deadtime` |
/// | active | `lb failover` | hands over, if the partner is heard, hears, and is fit |
/// | after handing over | partner did not take over within `deadtime` | takes over again |
///
/// At once means: on the word of a message that is younger than half of `deadtime`, which is known by what it answers
/// to. An older one only says that the partner lives; who hands over or says goodbye therefore wants to be answered,
/// and says it again in answer to that.
#[derive(Debug, Clone)]
pub struct Machine {
    terms: Terms,
    state: State,
    /// Since when the partner was silent.
    quiet: Duration,
    /// Until when the partner is expected back.
    expected: Option<Duration>,
    /// Since when it has been known that neither is active.
    vacant: Option<Duration>,
    /// Until when the partner has the right to go first, for this node has given way.
    yielded: Option<Duration>,
    /// Since when both have been active.
    conflict: Option<Duration>,
    partner: Option<Partner>,
    unfit: Option<Unfit>,
    /// Its network is back, and until then it counts as unfit still, unless the partner is heard.
    settles: Option<Duration>,
    /// When its gateway answered last, if there is one that has to.
    gateway: Option<Duration>,
    /// None of the addresses is here.
    is_off: bool,
    next_send: Duration,
    /// How many messages follow quickly.
    burst: u32,
    /// Since when the terms hold.
    amended: Duration,
    /// When this was called last.
    last: Duration,
    deeds: Vec<Deed>,
}

impl Machine {
    /// One that begins now.
    #[must_use]
    pub fn new(terms: Terms, begin: Begin, unfit: Option<Unfit>, now: Duration) -> Self {
        let mut machine = Self {
            terms,
            state: State::Starting,
            quiet: now,
            expected: None,
            vacant: None,
            yielded: None,
            conflict: None,
            partner: None,
            unfit,
            settles: None,
            gateway: None,
            is_off: false,
            next_send: now,
            burst: 0,
            amended: now,
            last: now,
            deeds: Vec::new(),
        };
        match begin {
            _ if !terms.pair => machine.activate(Why::Alone, now),
            Begin::Forced => machine.activate(Why::Forced, now),
            Begin::Resume(until) if until > now => {
                machine.activate(Why::Resumed, now);
                machine.state = State::Active(until);
            }
            // Whatever a daemon before this one left is not ours to hold.
            Begin::Listen | Begin::Resume(_) => machine.deeds.push(Deed::Lower(Why::Beginning)),
        }
        machine
    }

    /// What has to be done now, in order.
    pub fn take_deeds(&mut self) -> Vec<Deed> {
        std::mem::take(&mut self.deeds)
    }

    /// Until when [`Self::tick`] has to be called.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        if !self.terms.pair {
            return self.last + Duration::from_secs(1);
        }
        let mut next = self.next_send.min(self.last + self.terms.deadtime / 4);
        next = self.settles.map_or(next, |until| next.min(until));
        match self.state {
            State::Active(until) | State::Parting(until) => next = next.min(until),
            State::Leaving { end, .. } => next = next.min(end),
            State::Starting | State::Standby => {
                let vacant = self.vacant.map(|since| since + self.wait());
                let all = [Some(self.silence_ends()), self.yielded, vacant];
                // What is over was looked at, and waits for something else.
                let all = all.into_iter().flatten().filter(|at| *at > self.last);
                next = all.fold(next, Duration::min);
            }
            State::Gone | State::Absent(_) => {}
        }
        // Never a time that is over, or nothing else would run.
        next.max(self.last + Duration::from_millis(1))
    }

    /// The right that the data plane has.
    #[must_use]
    pub fn lease(&self) -> Lease {
        match self.state {
            _ if !self.terms.pair => Lease::None,
            State::Active(until) | State::Absent(until) => Lease::Until(until),
            State::Starting | State::Standby | State::Parting(_) | State::Gone if self.is_off => {
                Lease::Standby
            }
            State::Starting
            | State::Standby
            | State::Parting(_)
            | State::Gone
            | State::Leaving { .. } => Lease::OVER,
        }
    }

    /// The part that this node plays.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.state {
            State::Starting => Role::Starting,
            State::Standby if self.yielded.is_some() => Role::Yielding,
            State::Standby => Role::Standby,
            State::Active(_) => Role::Active,
            State::Leaving { .. } => Role::Leaving,
            State::Parting(_) | State::Gone => Role::Goodbye,
            State::Absent(_) => Role::Absent,
        }
    }

    /// What is known of the partner, if it was heard within its time.
    #[must_use]
    pub fn partner(&self) -> Option<&Partner> {
        self.partner.as_ref().filter(|_| self.is_heard(self.last))
    }

    /// Why this node must not be active.
    #[must_use]
    pub const fn unfit(&self) -> Option<&Unfit> {
        self.unfit.as_ref()
    }

    /// What was said of that last: a node whose network is back counts as unfit a while longer.
    #[must_use]
    pub fn said_unfit(&self) -> Option<&Unfit> {
        self.unfit.as_ref().filter(|_| self.settles.is_none())
    }

    /// What holds.
    #[must_use]
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Other terms hold from now on.
    pub fn amend(&mut self, terms: Terms, now: Duration) {
        self.advance(now);
        let was_pair = self.terms.pair;
        self.terms = terms;
        self.next_send = now;
        self.amended = now;
        match self.state {
            State::Active(until) => {
                let longest = now + terms.deadtime;
                self.state = State::Active(if was_pair {
                    until.min(longest)
                } else {
                    longest
                });
            }
            State::Starting | State::Standby if was_pair && !terms.pair => {
                self.activate(Why::Alone, now);
            }
            State::Starting
            | State::Standby
            | State::Leaving { .. }
            | State::Parting(_)
            | State::Gone
            | State::Absent(_) => {}
        }
        if !terms.pair {
            self.partner = None;
        }
        self.decide(now);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) {
        self.advance(now);
        self.decide(now);
        if self.terms.pair && now >= self.next_send && !self.deeds.contains(&Deed::Send) {
            self.deeds.push(Deed::Send);
        }
    }

    /// What to send now. The lease reaches from now on: it has to be written before the message is sent.
    pub fn say(&mut self, now: Duration) -> Say {
        let is_in_doubt = self.is_in_doubt(now);
        let wants_answer = is_in_doubt || self.has_bid() && self.burst > 0;
        let usual = self.terms.interval();
        self.next_send = now
            + match self.burst {
                0 if is_in_doubt => usual.min(self.terms.deadtime / 10),
                0 => usual,
                _ => BURST_PAUSE,
            };
        self.burst = self.burst.saturating_sub(1);
        if let State::Active(until) = self.state
            && !is_in_doubt
        {
            self.state = State::Active(until.max(now + self.terms.deadtime));
        }
        let back_within = match self.state {
            State::Absent(until) => until.saturating_sub(now),
            State::Starting
            | State::Standby
            | State::Active(_)
            | State::Leaving { .. }
            | State::Parting(_)
            | State::Gone => Duration::ZERO,
        };
        Say {
            role: self.role(),
            fit: self.unfit.is_none(),
            wants_answer,
            back_within,
        }
    }

    /// A message of the partner has come, and is believed.
    pub fn heard(&mut self, heard: &Heard, now: Duration) {
        self.advance(now);
        if !self.terms.pair {
            return;
        }
        let before = self.partner;
        let answers = match self.terms.acknowledged {
            true => heard.answers.map(|said| said.min(now)),
            false => Some(now),
        };
        let hears = match (answers, before) {
            (Some(said), _) => said,
            // It has slept, and listens anew since the first message that says so.
            (None, Some(before)) if before.answers.is_none() => before.hears,
            (None, _) => now,
        };
        // What it waits for has been said with the terms.
        let hears = hears.max(self.amended);
        let was_deaf = before.is_some_and(|partner| partner.deaf);
        // One that ends takes over from nobody, whatever it hears.
        let deaf = heard.role != Role::Goodbye && !self.is_young(hears, now);
        let could = heard.fit && !heard.role.holds() && heard.role != Role::Goodbye;
        self.partner = Some(Partner {
            heard: now,
            role: heard.role,
            fit: heard.fit,
            answers,
            hears,
            deaf,
            able_since: could.then(|| {
                let before = before.and_then(|partner| partner.able_since);
                before.unwrap_or(now)
            }),
            deadtime: heard.deadtime,
        });
        self.quiet = now;
        self.settle_down(now);
        self.expected = match heard.role {
            Role::Absent => Some(now + heard.back_within),
            Role::Starting
            | Role::Standby
            | Role::Active
            | Role::Leaving
            | Role::Yielding
            | Role::Goodbye => None,
        };
        if heard.role == Role::Active {
            self.yielded = None;
        }
        self.note_vacancy(now);
        self.settle(heard, now);
        self.decide(now);
        if heard.role == Role::Active && matches!(self.state, State::Parting(_)) {
            self.end();
        }
        // A partner that could take over and has not is told once more, in answer to what it says now.
        let is_bid_to = self.has_bid() && matches!(heard.role, Role::Starting | Role::Standby);
        if heard.wants_answer || deaf || was_deaf || is_bid_to {
            self.send_soon(0, now);
        }
    }

    /// Somebody wants to hear from this node.
    pub fn answer(&mut self, now: Duration) {
        self.advance(now);
        self.send_soon(0, now);
    }

    /// Whether this node may be active.
    pub fn fitness(&mut self, unfit: Option<Unfit>, now: Duration) {
        self.advance(now);
        if self.said_unfit() != unfit.as_ref() {
            let was_cut_off = matches!(self.unfit, Some(Unfit::Link(_) | Unfit::Gateway(_)));
            if was_cut_off && unfit.is_none() && !matches!(self.state, State::Active(_)) {
                self.settles.get_or_insert(now + LINK_SETTLES);
            } else {
                self.settles = None;
                self.unfit = unfit;
            }
            self.send_soon(0, now);
        }
        self.decide(now);
    }

    /// The gateway that is tracked has answered then, or none is tracked.
    pub fn gateway(&mut self, answered: Option<Duration>, now: Duration) {
        self.advance(now);
        self.gateway = answered;
        self.decide(now);
    }

    /// Its network is back and works: what was not heard meanwhile was no silence of the partner.
    fn settle_down(&mut self, now: Duration) {
        if self.settles.take().is_some() {
            self.unfit = None;
            self.quiet = self.quiet.max(now);
            self.vacant = None;
            self.send_soon(0, now);
        }
    }

    /// The addresses are off.
    pub fn let_go(&mut self, now: Duration) {
        self.advance(now);
        match self.state {
            State::Leaving { then, .. } => self.left(then, now),
            State::Starting | State::Standby | State::Parting(_) | State::Gone => {
                self.is_off = true;
            }
            // It was changed meanwhile; they are put on again.
            State::Active(_) | State::Absent(_) => {}
        }
    }

    /// An operator wants the partner to be active.
    ///
    /// # Errors
    /// If it would not take over.
    pub fn hand_over(&mut self, now: Duration) -> Result<(), Refused> {
        self.advance(now);
        self.may_hand_over(now)?;
        self.leave(Why::Ordered, Then::Yield, now);
        Ok(())
    }

    /// The daemon is to end: for good, or to be back within this time, with everything as it is meanwhile.
    pub fn stop(&mut self, back_within: Option<Duration>, now: Duration) {
        self.advance(now);
        match (self.state, back_within) {
            (State::Active(_), Some(within)) => {
                self.state = State::Absent(now + within);
                self.send_soon(BURST, now);
                self.deeds.push(Deed::End);
            }
            (State::Active(_), None) => self.leave(Why::Stopping, Then::Goodbye, now),
            (State::Leaving { end, .. }, _) => {
                let then = Then::Goodbye;
                self.state = State::Leaving { end, then };
            }
            (State::Starting | State::Standby, _) => self.left(Then::Goodbye, now),
            (State::Parting(_) | State::Gone | State::Absent(_), _) => {}
        }
    }

    /// What time alone has changed.
    fn advance(&mut self, now: Duration) {
        let slept = now.saturating_sub(self.last);
        self.last = self.last.max(now);
        if slept > self.terms.deadtime / 2 {
            // Nobody listened; that was no silence of the partner.
            self.quiet = self.quiet.max(now);
            self.vacant = None;
            self.conflict = None;
        }
        match self.state {
            State::Active(until) if self.terms.pair && now >= until => {
                self.leave(Why::LeaseOver, Then::Standby, now);
                self.quiet = now;
            }
            State::Leaving { end, then } if now >= end => self.left(then, now),
            State::Parting(end) if now >= end => self.end(),
            State::Starting
            | State::Standby
            | State::Active(_)
            | State::Leaving { .. }
            | State::Parting(_)
            | State::Gone
            | State::Absent(_) => {}
        }
        if self.yielded.is_some_and(|until| now >= until) {
            self.yielded = None;
        }
        if self.settles.is_some_and(|until| now >= until) {
            self.settle_down(now);
        }
    }

    /// What follows from everything that is known.
    fn decide(&mut self, now: Duration) {
        match self.state {
            State::Starting | State::Standby => self.consider(now),
            State::Active(_) => self.reconsider(now),
            State::Leaving { .. } | State::Parting(_) | State::Gone | State::Absent(_) => {}
        }
    }

    /// Whether to become active.
    fn consider(&mut self, now: Duration) {
        if !self.terms.pair {
            return self.activate(Why::Alone, now);
        }
        let partner = self.partner;
        if self.state == State::Starting && partner.is_some_and(|it| it.role == Role::Active) {
            self.state = State::Standby;
        }
        if self.unfit.is_some() {
            return;
        }
        if now >= self.silence_ends() && self.is_connected() {
            return self.activate(Why::PartnerDead, now);
        }
        if self.vacant.is_some_and(|since| now >= since + self.wait()) {
            return self.activate(Why::PartnerInactive, now);
        }
        let is_young = |said| self.is_young(said, now);
        let Some(partner) = partner.filter(|partner| partner.answers.is_some_and(is_young)) else {
            return;
        };
        let is_first = self.terms.node == Node::Primary && self.yielded.is_none();
        match partner.role {
            Role::Goodbye => self.activate(Why::PartnerLeaves, now),
            Role::Starting | Role::Standby if is_first || !partner.fit => {
                self.activate(Why::PartnerInactive, now);
            }
            Role::Yielding if is_first || self.yielded.is_none() || !partner.fit => {
                self.activate(Why::PartnerYields, now);
            }
            Role::Starting
            | Role::Standby
            | Role::Yielding
            | Role::Active
            | Role::Leaving
            | Role::Absent => {}
        }
    }

    /// Whether to stay active.
    fn reconsider(&mut self, now: Duration) {
        if !self.terms.pair {
            return;
        }
        let partner = self.partner.filter(|_| self.is_heard(now));
        let is_unfit = match self.unfit {
            Some(Unfit::Link(_) | Unfit::Gateway(_) | Unfit::Hung | Unfit::Service(_)) => true,
            // It holds what the daemon before it held.
            Some(Unfit::NotReady) | None => false,
        };
        if is_unfit && partner.is_none_or(|partner| partner.fit) {
            return self.leave(Why::Unfit, Then::Yield, now);
        }
        if self.terms.failback
            && self.terms.node == Node::Backup
            && self.may_hand_over(now).is_ok()
            && let Some(since) = partner.and_then(|partner| partner.able_since)
            && now >= since + self.terms.deadtime
        {
            self.leave(Why::Failback, Then::Yield, now);
        }
    }

    /// What a message means to an active node.
    fn settle(&mut self, heard: &Heard, now: Duration) {
        let State::Active(until) = self.state else {
            return;
        };
        let Some(partner) = self.partner else {
            return;
        };
        if heard.role != Role::Active {
            if self.conflict.take().is_some() {
                self.deeds.push(Deed::Announce(Why::Healed));
            }
            if partner.deaf && partner.fit {
                // The lease must not reach beyond the time when the partner will take over.
                self.state = State::Active(until.min(partner.hears + self.terms.deadtime));
            }
            return;
        }
        let is_first = self.conflict.is_none();
        let since = *self.conflict.get_or_insert(now);
        if !partner.deaf {
            if heard.outranks {
                self.leave(Why::PartnerActive, Then::Standby, now);
            } else if is_first {
                self.deeds.push(Deed::Announce(Why::Healed));
                self.send_soon(0, now);
            }
        } else if now >= since + self.terms.deadtime / 2 {
            self.leave(Why::NotHeard, Then::Standby, now);
        }
    }

    /// Whether the partner is heard, and seems not to hear this node. When it is not heard any more it is dead, or
    /// neither hears the other, which is the same to a node.
    fn is_in_doubt(&self, now: Duration) -> bool {
        let is_active = matches!(self.state, State::Active(_));
        let is_near = |partner: &Partner| now < partner.heard + self.terms.deadtime.mul_f64(NEAR);
        is_active
            && self
                .partner
                .filter(is_near)
                .is_some_and(|partner| partner.deaf)
    }

    fn may_hand_over(&self, now: Duration) -> Result<(), Refused> {
        if !matches!(self.state, State::Active(_)) {
            return Err(Refused::NotActive);
        }
        if !self.terms.pair {
            return Err(Refused::NoPartner);
        }
        let partner = self.partner.filter(|_| self.is_heard(now));
        let partner = partner
            .filter(|partner| partner.role != Role::Goodbye)
            .ok_or(Refused::Silent)?;
        if partner.able_since.is_none() {
            return Err(Refused::NotAble);
        }
        match partner.deaf {
            true => Err(Refused::Deaf),
            false => Ok(()),
        }
    }

    fn activate(&mut self, why: Why, now: Duration) {
        self.state = State::Active(now + self.terms.deadtime);
        self.is_off = false;
        self.vacant = None;
        self.yielded = None;
        self.conflict = None;
        // The lease is written with the message, and both come before the addresses.
        self.send_soon(1, now);
        self.deeds.push(Deed::Raise(why));
    }

    fn leave(&mut self, why: Why, then: Then, now: Duration) {
        self.state = State::Leaving {
            end: now + self.terms.deadtime + self.terms.letting_go,
            then,
        };
        self.conflict = None;
        self.deeds.push(Deed::Lower(why));
    }

    fn left(&mut self, then: Then, now: Duration) {
        self.is_off = true;
        self.quiet = self.quiet.max(now);
        self.vacant = None;
        match then {
            Then::Standby => {
                self.state = State::Standby;
                self.send_soon(0, now);
            }
            Then::Yield => {
                self.state = State::Standby;
                self.yielded = Some(now + self.wait());
                self.send_soon(BURST, now);
            }
            Then::Goodbye => {
                let is_there = self.is_heard(now)
                    && self.partner.is_some_and(|partner| {
                        partner.role != Role::Active && partner.role != Role::Goodbye
                    });
                self.send_soon(BURST, now);
                match self.terms.pair && is_there {
                    true => self.state = State::Parting(now + FAREWELL),
                    false => self.end(),
                }
            }
        }
        self.note_vacancy(now);
    }

    fn end(&mut self) {
        self.state = State::Gone;
        self.deeds.push(Deed::End);
    }

    /// It has let go, and waits for the partner to take over.
    fn has_bid(&self) -> bool {
        matches!(self.role(), Role::Yielding | Role::Goodbye)
    }

    /// Sends now, and so many times more.
    fn send_soon(&mut self, more: u32, now: Duration) {
        if !self.terms.pair {
            return;
        }
        self.next_send = now;
        self.burst = self.burst.max(more);
        if !self.deeds.contains(&Deed::Send) {
            self.deeds.push(Deed::Send);
        }
    }

    fn note_vacancy(&mut self, now: Duration) {
        let is_vacant = !self.role().holds()
            && self
                .partner
                .is_some_and(|partner| !partner.role.holds() && partner.role != Role::Goodbye);
        self.vacant = match is_vacant {
            true => Some(self.vacant.unwrap_or(now)),
            false => None,
        };
    }

    /// How long to wait for a sign of life: the partner's lease is as long as it says.
    fn wait(&self) -> Duration {
        let its = self.partner.map(|partner| partner.deadtime);
        self.terms.deadtime.max(its.unwrap_or_default())
    }

    /// When the partner has been silent for too long.
    fn silence_ends(&self) -> Duration {
        let quiet = self.quiet + self.wait();
        // After a sleep of ours it has at least the usual time.
        self.expected.map_or(quiet, |expected| match self.partner {
            Some(partner) if partner.heard == self.quiet => expected,
            Some(_) | None => expected.max(quiet),
        })
    }

    /// Whether it is the partner that is silent, and not this node that is cut off: the gateway answered later than the
    /// partner ought to have been heard. That it was not yet taken for lost proves nothing.
    fn is_connected(&self) -> bool {
        self.gateway
            .is_none_or(|answered| answered > self.quiet + self.terms.interval())
    }

    fn is_heard(&self, now: Duration) -> bool {
        self.partner
            .is_some_and(|partner| now < partner.heard + self.wait())
    }

    fn is_young(&self, said: Duration, now: Duration) -> bool {
        now < said + self.terms.deadtime / 2
    }
}
