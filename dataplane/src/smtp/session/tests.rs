mod authenticating;
mod encrypting;
mod ending;
mod sending;
mod smuggling;
mod stage;
mod trusting;
