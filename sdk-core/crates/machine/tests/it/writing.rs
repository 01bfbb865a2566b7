//! A client that writes, and what a server says of it.

use protocol::frame::v1::{
    ClientFrame, Decided, Frontier, Mutate, MutationDecision, RetryAfter, RowNow, ServerFrame,
    TableNow, Undecided, WriterState,
};
use protocol::ids::{
    ClientId, ColumnId, ContentHash, Epoch, Lane, MutationNumber, SchemaVersion, TableId,
};
use protocol::mutation::{
    Action, ColumnValue, Mutation, MutationDigest, Operation, Reason, Rejection, Verdict,
};
use protocol::value::{Row, Value};
use sdk_machine::{Event, Instruction, MutationId, Settled, StoredMutation};

use crate::client::{CLIENT, Client, EPOCH, lane, row, seq};

pub(crate) fn number(number: u64) -> MutationNumber {
    MutationNumber::new(number).unwrap()
}

/// A mutation that inserts a row with this key.
pub(crate) fn insert(id: i64) -> Mutation {
    let values = (0..).map(ColumnId).zip(row(id, 1, "written").0);
    let action = Action::Insert(values.map(|(id, value)| ColumnValue(id, value)).collect());
    let (table, version) = (TableId(1), SchemaVersion(1));
    Mutation { operations: vec![Operation { table, version, action, guard: None }] }
}

/// The chained hash after mutations with these keys.
pub(crate) fn chain(ids: &[i64]) -> ContentHash {
    let then = |hash: ContentHash, id: &i64| hash.then(MutationDigest::of(&insert(*id)));
    ids.iter().fold(ContentHash::START, then)
}

pub(crate) fn decision(at: u64, hash: ContentHash, is_accepted: bool) -> MutationDecision {
    let (operation, table, column) = (0, TableId(1), None);
    let rejection = Rejection { operation, table, column, reason: Reason::DuplicateKey };
    let verdict = if is_accepted { Verdict::Accepted } else { Verdict::Rejected(rejection) };
    MutationDecision { number: number(at), hash, verdict, seq: seq(10) }
}

/// The n-th mutation was decided, in a commit from 10 on.
pub(crate) fn decided(
    client: ClientId,
    at: u64,
    hash: ContentHash,
    is_accepted: bool,
) -> ServerFrame {
    ServerFrame::Decided(Box::new(Decided {
        lane: lane(),
        client,
        previous: seq(10),
        seq: seq(if is_accepted { 11 } else { 10 }),
        decision: decision(at, hash, is_accepted),
        tables: vec![now(i64::try_from(at).unwrap())],
    }))
}

fn now(id: i64) -> TableNow {
    let columns = (0..3).map(ColumnId).collect();
    let row = RowNow::Row(crate::client::birth(11), row(id, 1, "of the server"));
    TableNow { table: TableId(1), columns, rows: vec![row] }
}

/// The lane is live at 10, and this is known of the client there.
pub(crate) fn frontier(
    epoch: Epoch,
    client: ClientId,
    confirmed: (u64, ContentHash),
    decisions: Vec<MutationDecision>,
) -> ServerFrame {
    let writer = Some(Box::new(WriterState {
        client,
        confirmed: number(confirmed.0),
        confirmed_hash: confirmed.1,
        decisions,
        tables: Vec::new(),
    }));
    ServerFrame::Frontier(Frontier { lane: lane(), epoch, seq: seq(10), writer })
}

pub(crate) fn new_here(client: ClientId) -> ServerFrame {
    frontier(EPOCH, client, (0, ContentHash::START), Vec::new())
}

pub(crate) fn undecided(client: ClientId, at: u64) -> Undecided {
    Undecided { lane: lane(), client, number: number(at) }
}

impl Client {
    /// Writes rows with these keys, each as a mutation.
    pub(crate) fn write(&mut self, ids: &[i64]) {
        for id in ids {
            self.write_in(lane(), *id);
        }
    }

    pub(crate) fn write_in(&mut self, lane: Lane, id: i64) {
        let key: Row = [Value::Integer(id)].into_iter().collect();
        let stored = self.replica.wrote(lane, insert(id), vec![(TableId(1), key)]);
        assert_eq!(self.event(Event::Wrote(stored)), []);
    }

    /// Writes a row that takes so many bytes.
    pub(crate) fn write_large(&mut self, id: i64, bytes: usize) {
        let key: Row = [Value::Integer(id)].into_iter().collect();
        let stored = self.replica.wrote(lane(), insert(id), vec![(TableId(1), key)]);
        self.event(Event::Wrote(sdk_machine::StoredMutation { bytes, ..stored }));
    }

    pub(crate) fn flush(&mut self) -> Vec<Instruction> {
        match self.machine.has_to_send(self.now) {
            true => self.event(Event::Flush),
            false => Vec::new(),
        }
    }

    /// What a flush sends.
    pub(crate) fn sent(&mut self) -> Vec<Mutate> {
        let instructions = self.flush();
        self.mutates(&instructions)
    }

    pub(crate) fn mutates(&self, instructions: &[Instruction]) -> Vec<Mutate> {
        let frame = |instruction: &Instruction| match instruction {
            Instruction::Mutate(outgoing) => Some(self.replica.mutate(outgoing)),
            _ => None,
        };
        instructions.iter().filter_map(frame).collect()
    }

    /// A client that has sent rows 1 and 2, in a lane that is live.
    pub(crate) fn writing() -> Self {
        let mut client = Self::new();
        client.write(&[1, 2]);
        client.open();
        client.frame(new_here(CLIENT));
        assert_eq!(client.sent().len(), 1);
        client
    }

    /// The same after the connection was lost and is there again, where the server knows this.
    pub(crate) fn again(&mut self, state: ServerFrame) {
        self.disconnected();
        self.open();
        self.frame(state);
    }

    pub(crate) fn writer(&self) -> sdk_machine::StoredWriter {
        self.replica.writer(&lane()).cloned().expect("something was sent")
    }
}

#[test]
fn what_is_sent_was_stored_before_and_survives_a_power_cut() {
    let mut client = Client::new();
    client.write(&[1, 2]);
    client.open();
    client.frame(new_here(CLIENT));
    let instructions = client.flush();
    let is_synced = |instruction: &Instruction| match instruction {
        Instruction::Apply(step) => step.synced,
        _ => false,
    };
    assert!(is_synced(&instructions[0]), "{instructions:?}");
    let sent = client.mutates(&instructions);
    assert_eq!((sent[0].first, sent[0].previous), (number(1), ContentHash::START));
    assert_eq!((sent[0].mutations.len(), sent[0].epoch), (2, EPOCH));
    assert_eq!(client.writer().sent, number(2));
    // Written later, it is sent behind.
    client.write(&[3]);
    let sent = client.sent();
    assert_eq!((sent[0].first, sent[0].previous), (number(3), chain(&[1, 2])));
}

#[test]
fn no_more_is_sent_than_the_server_keeps_decisions_for() {
    let mut client = Client::new();
    client.write(&(1..=400).collect::<Vec<_>>());
    client.open();
    client.frame(new_here(CLIENT));
    let sent: usize = client.sent().iter().map(|frame| frame.mutations.len()).sum();
    assert_eq!(sent, 256);
    // A frame and a sync for each one that is decided would be too much.
    let all: Vec<i64> = (1..=400).collect();
    let decide = |client: &mut Client, at: usize| {
        let hash = chain(&all[..at]);
        client.frame(decided_at(client_position(client), at as u64, hash));
    };
    for at in 1..64 {
        decide(&mut client, at);
        assert_eq!(client.sent(), [], "after {at}");
    }
    decide(&mut client, 64);
    let sent = client.sent();
    assert_eq!((sent[0].first, sent[0].mutations.len()), (number(257), 64));
    // What is known of the first goes along.
    assert_eq!(sent[0].confirmed, number(64));
}

fn client_position(client: &Client) -> u64 {
    client.position().unwrap()
}

fn decided_at(position: u64, at: u64, hash: ContentHash) -> ServerFrame {
    let decision = MutationDecision { seq: seq(position), ..decision(at, hash, true) };
    ServerFrame::Decided(Box::new(Decided {
        lane: lane(),
        client: CLIENT,
        previous: seq(position),
        seq: seq(position),
        decision,
        tables: Vec::new(),
    }))
}

/// What is under way is a megabyte at most, and one mutation at least.
#[test]
fn no_more_is_on_its_way_than_a_slow_network_can_carry_again() {
    let mut client = Client::new();
    for id in 1..=6 {
        let key: Row = [Value::Integer(id)].into_iter().collect();
        let stored = client.replica.wrote(lane(), insert(id), vec![(TableId(1), key)]);
        client.event(Event::Wrote(StoredMutation { bytes: 400_000, ..stored }));
    }
    client.open();
    client.frame(new_here(CLIENT));
    let sent = client.sent();
    let counts: Vec<_> = sent.iter().map(|frame| frame.mutations.len()).collect();
    assert_eq!(counts, [1, 1], "each a frame of its own");
    client.frame(decided(CLIENT, 1, chain(&[1]), true));
    assert_eq!(client.sent()[0].first, number(3));
    // The time after which they go again is longer for them.
    for _ in 0..4 {
        client.after(10_000);
        client.frame(crate::client::progress(11));
    }
    assert_eq!(client.sent(), []);
}

/// W2: each attempt fails once in another way, and nothing else starts it again.
#[test]
fn everything_is_sent_again_after_each_kind_of_failure() {
    let fails: [fn(&mut Client); 5] = [
        |client| client.again(new_here(CLIENT)),
        |client| {
            client.crash();
            client.open();
            client.frame(new_here(CLIENT));
        },
        |client| {
            client.frame(ServerFrame::Expected(undecided(CLIENT, 1)));
            client.after(1_000);
        },
        |client| {
            let later = RetryAfter { lane: lane(), client: CLIENT, retry_after_ms: 500 };
            client.frame(ServerFrame::RetryAfter(later));
            assert_eq!(client.sent(), [], "not before");
            client.after(500);
        },
        |client| {
            // Nothing is heard of them, while other things are.
            for _ in 0..4 {
                client.after(10_000);
                client.frame(crate::client::progress(10));
            }
        },
    ];
    for (place, fail) in fails.iter().enumerate() {
        let mut client = Client::writing();
        fail(&mut client);
        let sent = client.sent();
        let again = sent.iter().find(|frame| frame.first == number(1));
        let again = again.unwrap_or_else(|| panic!("failure {place}: {sent:?}"));
        assert_eq!((again.mutations.len(), again.previous), (2, ContentHash::START));
    }
}

#[test]
fn a_decision_is_told_once_and_what_is_settled_is_confirmed_when_it_is_safe() {
    let mut client = Client::writing();
    client.frame(decided(CLIENT, 1, chain(&[1]), false));
    let told = client.replica.settled().to_vec();
    assert!(matches!(told[..], [(MutationId(1), Settled::Rejected(_))]), "{told:?}");
    assert_eq!(client.writer().confirmed, number(0), "a power cut may take it back");
    // The next connection begins with a synced step.
    client.disconnected();
    let hello = client.open();
    assert_eq!(hello.writers[0].confirmed, number(1));
    let kept = vec![decision(1, chain(&[1]), false), decision(2, chain(&[1, 2]), true)];
    client.frame(frontier(EPOCH, CLIENT, (0, ContentHash::START), kept));
    assert_eq!(client.replica.settled().len(), 2);
    assert_eq!(client.sent(), []);
}

#[test]
fn a_row_that_nobody_holds_is_as_the_server_has_it_while_something_waits_for_it() {
    let mut client = Client::writing();
    let visible = |client: &Client| client.replica.visible(TableId(1)).len();
    assert_eq!(visible(&client), 0);
    client.write(&[1]);
    client.frame(decided(CLIENT, 1, chain(&[1]), true));
    assert_eq!(visible(&client), 1, "row 1 is written once more");
}

/// Two copies have 1 and 2 unsent; the other one has sent 1 and then 3.
#[test]
fn a_copy_settles_what_the_other_has_sent_and_goes_on_alone_from_the_first_difference() {
    let mut client = Client::writing();
    client.disconnected();
    client.open();
    let kept = vec![decision(1, chain(&[1]), true), decision(2, chain(&[1, 3]), true)];
    client.frame(frontier(EPOCH, CLIENT, (0, ContentHash::START), kept));
    assert_eq!(client.replica.settled(), [(MutationId(1), Settled::Accepted(seq(10)))]);
    let own = CLIENT.then(b"", MutationDigest::of(&insert(2)));
    assert_eq!(client.writer().client, own);
    // Under the new identity the lane is opened first.
    let instructions = client.flush();
    let opened = instructions.iter().find_map(|instruction| match instruction {
        Instruction::Send(ClientFrame::OpenLane(open)) => Some(open.writer.client),
        _ => None,
    });
    assert_eq!(opened, Some(own));
    let sent = client.mutates(&instructions);
    assert_eq!((sent[0].client, sent[0].first, sent[0].mutations.len()), (own, number(1), 1));
}

#[test]
fn a_copy_settles_also_what_it_has_never_sent_itself() {
    let mut client = Client::new();
    client.write(&[1, 2]);
    client.open();
    client.frame(frontier(
        EPOCH,
        CLIENT,
        (0, ContentHash::START),
        vec![decision(1, chain(&[1]), true)],
    ));
    let sent = client.sent();
    assert_eq!((sent[0].first, sent[0].previous), (number(2), chain(&[1])));
}

#[test]
fn what_the_other_copy_has_confirmed_is_uncertain() {
    let mut client = Client::writing();
    client.again(frontier(EPOCH, CLIENT, (1, chain(&[1])), Vec::new()));
    assert_eq!(client.replica.settled(), [(MutationId(1), Settled::Uncertain)]);
    assert_eq!(client.writer().client, CLIENT, "the rest is the same");
    // Confirmed with other content: where there are several, some may have been sent by the other one.
    let mut client = Client::writing();
    client.again(frontier(EPOCH, CLIENT, (1, chain(&[3])), Vec::new()));
    assert_eq!(client.replica.settled(), [], "the first was not sent by the other one");
    assert_eq!(client.writer().client, CLIENT.then(b"", MutationDigest::of(&insert(1))));
    let mut client = Client::writing();
    client.write(&[4]);
    client.again(frontier(EPOCH, CLIENT, (2, chain(&[1, 3])), Vec::new()));
    let uncertain = |id| (MutationId(id), Settled::Uncertain);
    assert_eq!(client.replica.settled(), [uncertain(1), uncertain(2)]);
    assert_eq!(client.writer().client, CLIENT.then(b"", MutationDigest::of(&insert(4))));
}

#[test]
fn forked_waits_for_a_frontier_and_is_not_believed_of_what_is_settled() {
    let mut client = Client::writing();
    client.frame(decided(CLIENT, 1, chain(&[1]), true));
    client.frame(ServerFrame::Forked(undecided(CLIENT, 1)));
    assert_eq!(client.flush(), [], "a late duplicate says nothing");
    client.frame(ServerFrame::Forked(undecided(CLIENT, 2)));
    let instructions = client.flush();
    assert!(matches!(instructions[..], [Instruction::Send(ClientFrame::OpenLane(_))]));
    client.after(60_000);
    client.write(&[3]);
    assert_eq!(client.sent(), [], "nothing before the frontier");
}

#[test]
fn in_another_history_the_identity_is_another() {
    let mut client = Client::writing();
    client.disconnected();
    client.open();
    let other = Epoch::from_bytes([2; 16]);
    // A server that was restored to when it knew of the first.
    let kept = vec![decision(1, chain(&[1]), true)];
    client.frame(frontier(other, CLIENT, (0, ContentHash::START), kept));
    let own = CLIENT.then(other.as_bytes(), MutationDigest::of(&insert(2)));
    assert_eq!((client.writer().client, client.writer().epoch), (own, Some(other)));
    let sent = client.sent();
    assert_eq!((sent[0].epoch, sent[0].client), (other, own));
}

/// A server that is restored twice may have been in between: there is a backup in which what was sent at
/// first was decided, and under an identity that the client does not have any more.
#[test]
fn what_was_sent_to_a_history_that_may_have_come_back_is_uncertain() {
    let restored = |client: &mut Client, number: u8, kept| {
        client.disconnected();
        client.open();
        let identity = client.writer().client;
        let epoch = Epoch::from_bytes([number; 16]);
        client.frame(frontier(epoch, identity, (0, ContentHash::START), kept));
        client.sent()
    };
    let restored_once = || {
        let mut client = Client::writing();
        client.disconnected();
        client.open();
        client.frame(frontier(Epoch::from_bytes([2; 16]), CLIENT, (0, ContentHash::START), vec![]));
        assert!(!client.machine.may_take_back(MutationId(2)), "it has left the device");
        assert_eq!(client.sent()[0].mutations.len(), 2, "all goes again");
        client.write(&[3]);
        client.sent();
        client
    };
    let mut client = restored_once();
    let sent = restored(&mut client, 3, Vec::new());
    let uncertain = |id| (MutationId(id), Settled::Uncertain);
    assert_eq!(client.replica.settled(), [uncertain(1), uncertain(2)]);
    assert_eq!(sent[0].mutations.len(), 1, "the third was never in the first history");
    let sent = restored(&mut client, 4, Vec::new());
    assert_eq!((client.replica.settled().len(), sent.len()), (3, 0));
    // One that knows the second identity comes behind the second history.
    let mut client = restored_once();
    let kept = vec![decision(1, chain(&[1]), true)];
    let sent = restored(&mut client, 3, kept);
    assert!(matches!(client.replica.settled(), [(MutationId(1), Settled::Accepted(_))]));
    assert_eq!(sent[0].mutations.len(), 2);
}

#[test]
fn a_client_that_was_forgotten_says_what_is_uncertain_and_goes_on() {
    let mut client = Client::writing();
    client.again(new_here(CLIENT));
    client.write(&[3]);
    client.sent();
    client.frame(ServerFrame::UnknownClient(undecided(CLIENT, 1)));
    // The third was sent for the first time just now, and the server has said that it was not decided.
    let uncertain = |id| (MutationId(id), Settled::Uncertain);
    assert_eq!(client.replica.settled(), [uncertain(1), uncertain(2)]);
    let instructions = client.flush();
    let sent = client.mutates(&instructions);
    assert_eq!((sent[0].first, sent[0].mutations.len()), (number(1), 1));
    assert_ne!(sent[0].client, CLIENT);
    // What has left the device under an identity of before may have been decided as well.
    let mut client = Client::writing();
    client.disconnected();
    client.open();
    let other = Epoch::from_bytes([2; 16]);
    client.frame(frontier(other, CLIENT, (0, ContentHash::START), Vec::new()));
    let own = client.writer().client;
    client.sent();
    client.frame(ServerFrame::UnknownClient(undecided(own, 1)));
    assert_eq!(client.replica.settled(), [uncertain(1), uncertain(2)]);
    // A client that has only just begun loses nothing.
    let mut client = Client::writing();
    client.frame(ServerFrame::UnknownClient(undecided(CLIENT, 1)));
    assert_eq!(client.replica.settled(), []);
    assert_eq!(client.sent()[0].mutations.len(), 2);
}

#[test]
fn a_forked_client_is_let_in_no_sooner_than_the_server_wants() {
    let mut client = Client::writing();
    client.frame(ServerFrame::Forked(undecided(CLIENT, 1)));
    assert_eq!(client.flush().len(), 1, "it asks for a frontier at once");
    let later = RetryAfter { lane: lane(), client: CLIENT, retry_after_ms: 5_000 };
    client.frame(ServerFrame::RetryAfter(later));
    assert_eq!(client.flush(), []);
    client.after(5_000);
    assert_eq!(client.flush().len(), 1);
}

#[test]
fn what_was_taken_back_takes_its_number_and_only_before_it_is_sent() {
    let mut client = Client::new();
    client.write(&[1, 2, 3]);
    assert!(client.machine.may_take_back(MutationId(2)));
    client.replica.take_back(MutationId(2));
    client.event(Event::TakenBack(MutationId(2)));
    client.open();
    client.frame(new_here(CLIENT));
    let sent = client.sent();
    let digests: Vec<_> = sent[0].mutations.iter().map(|written| written.digest()).collect();
    assert_eq!(digests, [1, 2, 3].map(|id| MutationDigest::of(&insert(id))));
    assert!(matches!(sent[0].mutations[1], protocol::frame::v1::Written::Cancelled(_)));
    assert!(!client.machine.may_take_back(MutationId(3)));
}

#[test]
fn decisions_of_another_identity_only_move_the_lane() {
    let mut client = Client::writing();
    client.frame(decided(ClientId::from_bytes([9; 16]), 1, chain(&[5]), true));
    assert_eq!((client.replica.settled().len(), client.position()), (0, Some(11)));
}
