//! What waits to be written to one peer: two lanes, each in order.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::api::NotSent;
use crate::pack::Packet;

/// Most bytes of control messages that wait. At the bound they are refused; Raft sends them anew.
const CONTROL_BYTES_MAX: usize = 1 << 20;

/// Which of two queues a frame waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Small, few and urgent: votes, heartbeats, acknowledgements. They overtake the data.
    Control,
    /// All that carries data of clients, and what must stay in order with it.
    Data,
}

/// Frames that wait for one peer.
#[derive(Debug)]
pub(crate) struct Outbox {
    control: Vec<u8>,
    data: VecDeque<Packet>,
    data_bytes: usize,
    data_bytes_max: usize,
}

impl Outbox {
    pub fn new(data_bytes_max: usize) -> Self {
        Self { control: Vec::new(), data: VecDeque::new(), data_bytes: 0, data_bytes_max }
    }

    /// Queues a frame. A data frame larger than the bound is taken when no other waits.
    pub fn push(&mut self, lane: Lane, packet: Packet) -> Result<(), NotSent> {
        let bytes = packet.len();
        match lane {
            Lane::Control if self.control.len() + bytes > CONTROL_BYTES_MAX => Err(NotSent::QueueFull),
            Lane::Control => {
                packet.append_to(&mut self.control);
                Ok(())
            }
            Lane::Data if !self.data.is_empty() && self.data_bytes + bytes > self.data_bytes_max => {
                Err(NotSent::QueueFull)
            }
            Lane::Data => {
                self.data_bytes += bytes;
                self.data.push_back(packet);
                Ok(())
            }
        }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.control.is_empty() && self.data.is_empty()
    }

    pub fn queued_bytes(&self) -> usize {
        self.control.len() + self.data_bytes
    }

    /// Moves all control frames, then data frames until about `bytes` are taken, at least one.
    pub fn take(&mut self, pieces: &mut VecDeque<Bytes>, bytes: usize) {
        if !self.control.is_empty() {
            pieces.push_back(Bytes::from(std::mem::take(&mut self.control)));
        }
        let mut taken = 0;
        while taken < bytes {
            let Some(packet) = self.data.pop_front() else { break };
            taken += packet.len();
            self.data_bytes -= packet.len();
            pieces.extend(packet.into_pieces());
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.control.clear();
        self.data.clear();
        self.data_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Kind;
    use crate::pack::pack;

    fn packet(len: usize) -> Packet {
        pack(Kind::Forward, &[], &[Bytes::from(vec![0; len])])
    }

    fn drain(outbox: &mut Outbox, bytes: usize) -> usize {
        let mut pieces = VecDeque::new();
        outbox.take(&mut pieces, bytes);
        pieces.iter().map(Bytes::len).sum()
    }

    #[test]
    fn a_full_data_lane_leaves_room_for_control() {
        let mut outbox = Outbox::new(10_000);
        while outbox.push(Lane::Data, packet(1000)).is_ok() {}
        assert!(outbox.queued_bytes() <= 10_000);
        assert_eq!(outbox.push(Lane::Control, packet(8)), Ok(()));
        let mut frames = 0;
        while outbox.push(Lane::Control, packet(1000)).is_ok() {
            frames += 1;
        }
        assert!(frames >= 900 && outbox.queued_bytes() <= 10_000 + CONTROL_BYTES_MAX);
    }

    #[test]
    fn a_frame_larger_than_the_bound_goes_alone() {
        let mut outbox = Outbox::new(10);
        assert_eq!(outbox.push(Lane::Data, packet(100)), Ok(()));
        assert_eq!(outbox.push(Lane::Data, packet(1)), Err(NotSent::QueueFull));
        assert_eq!(drain(&mut outbox, 1), 124);
        assert_eq!(outbox.push(Lane::Data, packet(1)), Ok(()));
    }

    #[test]
    fn control_goes_first_and_data_in_portions() {
        let mut outbox = Outbox::new(1 << 20);
        for _ in 0..10 {
            outbox.push(Lane::Data, packet(976)).unwrap();
        }
        outbox.push(Lane::Control, packet(0)).unwrap();
        assert_eq!(drain(&mut outbox, 2500), 24 + 3000);
        assert_eq!(drain(&mut outbox, usize::MAX), 7000);
        assert!(outbox.is_empty() && outbox.queued_bytes() == 0);
    }
}
