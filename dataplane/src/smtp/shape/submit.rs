//! A form: `to` for each recipient, `sender`, and the message as a file, which frameworks do not take for text.

use super::form::Form;
use super::{Letter, Shaped, Unspeakable};

pub fn shape(letter: &Letter<'_>) -> Result<Shaped, Unspeakable> {
    let mut form = Form::new();
    for recipient in &letter.envelope.recipients {
        form.field("to", recipient.mailbox.as_str());
    }
    form.field("sender", letter.envelope.sender.as_str());
    let file = "; filename=\"message.eml\"\r\nContent-Type: message/rfc822";
    form.message("message", file, letter)
}
