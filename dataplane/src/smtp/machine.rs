//! In which order commands may come (RFC 5321, 4.1.4): `mailin`'s state machine, which knows nothing but that.
//!
//! It is fed lines of ours, never a client's: its parser knows no null sender and no parameters, lets a NUL pass, and
//! writes lines to the log. Its AUTH and STARTTLS are not built in: it would ask for AUTH again after each RSET.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use mailin::response::{NO_MAILBOX, OK};
use mailin::{Handler, Response, Session, SessionBuilder};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Hello,
    Mail,
    Recipient,
    Data,
    /// Of the data. The machine is told so whatever became of them: from an error it would not come back.
    End,
    Reset,
}

impl Step {
    fn line(self) -> &'static [u8] {
        match self {
            Step::Hello => b"EHLO x\r\n",
            Step::Mail => b"MAIL FROM:<x>\r\n",
            Step::Recipient => b"RCPT TO:<x>\r\n",
            Step::Data => b"DATA\r\n",
            Step::End => b".\r\n",
            Step::Reset => b"RSET\r\n",
        }
    }
}

/// What the machine is told when it asks.
#[derive(Clone, Default)]
struct Slot(Rc<Cell<bool>>);

impl Slot {
    fn verdict(&self) -> Response {
        match self.0.get() {
            true => OK,
            false => REFUSAL,
        }
    }
}

impl Handler for Slot {
    fn mail(&mut self, _: IpAddr, _: &str, _: &str) -> Response {
        self.verdict()
    }

    fn rcpt(&mut self, _: &str) -> Response {
        self.verdict()
    }

    fn data_start(&mut self, _: &str, _: &str, _: bool, _: &[String]) -> Response {
        self.verdict()
    }
}

/// By which the slot's word is told from the machine's own.
const REFUSAL: Response = NO_MAILBOX;

pub struct Machine {
    session: Session<Slot>,
    slot: Slot,
}

impl Machine {
    pub fn new() -> Machine {
        let slot = Slot::default();
        // Neither is shown to anybody.
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let session = SessionBuilder::new("").build(nobody, slot.clone());
        Machine { session, slot }
    }

    /// Whether a step that can be refused would be in order: the machine asks its slot, is refused, and stays where it is.
    /// So authorizers and limits are asked for nothing that is out of order.
    pub fn permits(&mut self, step: Step) -> bool {
        debug_assert!(matches!(step, Step::Mail | Step::Recipient | Step::Data));
        self.slot.0.set(false);
        self.session.process(step.line()).code == REFUSAL.code
    }

    /// Makes the step; says whether it was in order.
    pub fn advance(&mut self, step: Step) -> bool {
        self.slot.0.set(true);
        !self.session.process(step.line()).is_error
    }
}

#[cfg(test)]
mod tests {
    use super::Step::{Data, End, Hello, Mail, Recipient, Reset};
    use super::*;

    /// What may come next of those that can be out of order.
    fn next(machine: &mut Machine) -> Vec<Step> {
        let steps = [Mail, Recipient, Data];
        steps.into_iter().filter(|step| machine.permits(*step)).collect()
    }

    #[test]
    fn commands_come_in_their_order() {
        let table: &[(&[Step], &[Step])] = &[
            (&[], &[]),
            (&[Reset], &[]),
            (&[Hello], &[Mail]),
            (&[Hello, Hello], &[Mail]),
            (&[Hello, Mail], &[Recipient]),
            (&[Hello, Mail, Recipient], &[Recipient, Data]),
            (&[Hello, Mail, Recipient, Recipient], &[Recipient, Data]),
            (&[Hello, Mail, Reset], &[Mail]),
            (&[Hello, Mail, Recipient, Reset], &[Mail]),
            (&[Hello, Mail, Recipient, Hello], &[Mail]),
            (&[Hello, Mail, Recipient, Data, End], &[Mail]),
            (&[Hello, Mail, Recipient, Data, End, Mail], &[Recipient]),
        ];
        for (steps, expected) in table {
            let mut machine = Machine::new();
            for step in *steps {
                assert!(machine.advance(*step), "{steps:?}");
            }
            assert_eq!(next(&mut machine), *expected, "{steps:?}");
            assert_eq!(next(&mut machine), *expected, "{steps:?}: asking changes nothing");
        }
    }

    #[test]
    fn a_step_out_of_order_is_none() {
        let mut machine = Machine::new();
        assert!(!machine.advance(Mail));
        assert!(machine.advance(Hello) && !machine.advance(Data) && !machine.advance(Recipient));
        assert!(machine.advance(Mail) && !machine.advance(Mail));
    }
}
