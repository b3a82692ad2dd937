//! Consumers of the log: where each stands, and the records that say so, which are changes as any other.

use txn_change::{Body, Change, ChangeId, Expect, Fingerprint, Key, Kind, Limits, Put, Tenant, Timestamp};

use super::{Model, Said};

#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    position: u64,
    epoch: u64,
    is_retired: bool,
}

pub(crate) fn tail_key() -> Key {
    Key::of(Kind::reserved("txn-tail")).number(0).build()
}

fn cursor_key(name: &str) -> Key {
    Key::of(Kind::reserved("txn-cursor")).text(name).unwrap().build()
}

impl Model {
    /// Opens a cursor, and says where it begins.
    pub(crate) fn open(&mut self, name: &str, now: Timestamp) -> u64 {
        let known = self.cursors.get(name).copied();
        let epoch = known.map_or(0, |cursor| cursor.epoch) + 1;
        let kept = known.filter(|cursor| !cursor.is_retired);
        let position = kept.map_or(self.free, |cursor| cursor.position);
        let tail = kept.is_none().then(|| self.tail_put(self.free));
        self.put_cursor(name, Cursor { position, epoch, is_retired: false }, tail, now);
        position
    }

    /// Moves a cursor; nothing is committed where it stands there already.
    pub(crate) fn acknowledge(&mut self, name: &str, position: u64, now: Timestamp) {
        let cursor = self.cursors[name];
        if position > cursor.position {
            self.put_cursor(name, Cursor { position, ..cursor }, None, now);
        }
    }

    pub(crate) fn retire(&mut self, name: &str, now: Timestamp) {
        let cursor = self.cursors[name];
        self.put_cursor(name, Cursor { is_retired: true, ..cursor }, None, now);
    }

    /// The names that hold the log back, and how far each has come.
    pub(crate) fn consumers(&self) -> Vec<(String, u64)> {
        let held = self.cursors.iter().filter(|(_, cursor)| !cursor.is_retired);
        held.map(|(name, cursor)| (name.clone(), cursor.position)).collect()
    }

    /// Gives the log free up to a position.
    pub(super) fn give_free(&mut self, position: u64, now: Timestamp) {
        let put = self.tail_put(position);
        let version = self.version(&put.key);
        self.put(&format!("txn.tail/{version}"), "txn.tail", vec![put], now);
        self.free = position;
    }

    fn put_cursor(&mut self, name: &str, cursor: Cursor, tail: Option<Put>, now: Timestamp) {
        let Cursor { position, epoch, is_retired } = cursor;
        let json = format!(r#"{{"position":{position},"epoch":{epoch},"is_retired":{is_retired}}}"#);
        let put = self.put_of(cursor_key(name), "txn.cursor", &json);
        let id = format!("txn.cursor/{name}/{}", self.version(&put.key));
        self.put(&id, "txn.cursor", [put].into_iter().chain(tail).collect(), now);
        self.cursors.insert(name.to_owned(), cursor);
    }

    fn tail_put(&self, position: u64) -> Put {
        self.put_of(tail_key(), "txn.tail", &format!(r#"{{"position":{position}}}"#))
    }

    fn put_of(&self, key: Key, type_name: &str, json: &str) -> Put {
        let version = self.version(&key);
        let expect = if version == 0 { Expect::Absent } else { Expect::Version(version) };
        Put { key, expect, body: Some(Body::raw(type_name, 1, json.as_bytes().to_vec())), terms: vec![] }
    }

    fn version(&self, key: &Key) -> u64 {
        self.house(&Tenant::default()).records.get(key).map_or(0, |record| record.version)
    }

    /// Commits a change of records, asked as its first one says.
    fn put(&mut self, id: &str, operation: &str, puts: Vec<Put>, now: Timestamp) {
        let asked = Fingerprint::of_bytes(operation, puts[0].body.as_ref().unwrap().bytes());
        let change = Change { put: puts, ..Change::new(ChangeId::new(id).unwrap(), asked) };
        let said = self.commit(&Tenant::default(), &change, now, &Limits::default());
        assert!(matches!(said, Said::Done { replayed: false, .. }), "{id}: {said:?}");
    }
}
