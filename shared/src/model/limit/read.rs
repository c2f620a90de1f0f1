//! A limit's JSON, field by field.

use std::time::Duration;

use serde_json::Value;

use super::{Algorithm, Cost, CountedUnder, Limit, LimitId, Mode, OnUnreachable, PERIOD};
use crate::model::choice::one_of;
use crate::model::fields::{Fields, Path, integer, kind, string};
use crate::model::invalid::Errors;
use crate::model::name::ServiceName;
use crate::model::pattern::{Case, Pattern};
use crate::model::size::parse_size;
use crate::model::timeouts::duration;

/// 31 days.
const PERIOD_MAX: i64 = 2_678_400;
const THRESHOLD_MAX: i64 = 1_000_000_000_000;
const DELAY_MAX: Duration = Duration::from_secs(3_600);
const CONCURRENT_MAX: i64 = 1_000_000;

pub(super) fn read(id: LimitId, value: &Value, errors: &mut Errors) -> Option<Limit> {
    let path = &Path::Root;
    let mut fields = Fields::of(value, path, errors)?;
    let auth_token = pattern(&mut fields, "auth_token", Case::Matters, errors);
    let protocol = fields.read("protocol", errors, Pattern::any(Case::Ignored), read_protocol);
    let method = pattern(&mut fields, "method", Case::Ignored, errors);
    let target = fields.read("path", errors, Pattern::any(Case::Matters), |value, path, errors| {
        let parsed = Pattern::parse_path(string(value, path, errors)?);
        parsed.map_err(|detail| errors.invalid(path, detail)).ok()
    });
    let data_size = fields.read("data_size", errors, 0, |value, path, errors| {
        parse_size(value).map_err(|detail| errors.invalid(path, detail)).ok()
    });
    let period = fields.read("period", errors, PERIOD, |value, path, errors| {
        integer(value, path, errors, 1, PERIOD_MAX)
    });
    let threshold = threshold(&mut fields, path, errors);
    let service = fields.read("service", errors, None, read_service);
    let algorithm = word(&mut fields, "algorithm", &Algorithm::ALL, errors);
    let on_unreachable = word(&mut fields, "on_unreachable", &OnUnreachable::ALL, errors);
    let mode = word(&mut fields, "mode", &Mode::ALL, errors);
    let overrides = fields.read("override", errors, false, read_flag);
    let key = word(&mut fields, "key", &CountedUnder::ALL, errors);
    let cost = fields.read("cost", errors, Cost::default(), Cost::read);
    if let (Some(cost), Some(threshold)) = (&cost, threshold)
        && i128::from(cost.usual()) > i128::from(threshold.max(1))
    {
        errors.invalid(&path.field("cost"), "more than the threshold: nothing would ever pass");
    }
    let delay_max = fields.read("delay_max", errors, Duration::ZERO, read_delay);
    let concurrent = fields.read("concurrent", errors, None, read_concurrent);
    fields.finish(errors);
    Some(Limit {
        id,
        auth_token: auth_token?,
        protocol: protocol?,
        method: method?,
        path: target?,
        data_size: data_size?,
        period: u32::try_from(period?).ok()?,
        threshold: u64::try_from(threshold?).ok()?,
        service: service?,
        algorithm: algorithm?,
        on_unreachable: on_unreachable?,
        mode: mode?,
        overrides: overrides?,
        key: key?,
        cost: cost?,
        delay_max: delay_max?,
        concurrent: concurrent?,
    })
}

fn pattern(fields: &mut Fields<'_>, name: &'static str, case: Case, errors: &mut Errors) -> Option<Pattern> {
    fields.read(name, errors, Pattern::any(case), |value, path, errors| {
        let parsed = Pattern::parse(string(value, path, errors)?, case);
        parsed.map_err(|detail| errors.invalid(path, detail)).ok()
    })
}

/// One that nothing would ever count for is a mistake.
fn read_protocol(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Pattern> {
    let parsed = Pattern::parse(string(value, path, errors)?, Case::Ignored);
    let takes_any = |protocol: &Pattern| ["HTTP", "SMTP"].iter().any(|known| protocol.matches(known));
    match parsed {
        Ok(protocol) if takes_any(&protocol) => Some(protocol),
        Ok(_) => {
            errors.invalid(path, "it takes neither HTTP nor SMTP, and there is no other protocol");
            None
        }
        Err(detail) => {
            errors.invalid(path, detail);
            None
        }
    }
}

fn word<T: Copy + Default>(
    fields: &mut Fields<'_>,
    name: &'static str,
    known: &[(&'static str, T)],
    errors: &mut Errors,
) -> Option<T> {
    fields.read(name, errors, T::default(), |value, path, errors| {
        one_of(known, value, path, errors)
    })
}

fn threshold(fields: &mut Fields<'_>, path: &Path<'_>, errors: &mut Errors) -> Option<i64> {
    let path = &path.field("threshold");
    match fields.take("threshold") {
        Some(value) => integer(value, path, errors, 0, THRESHOLD_MAX),
        None => {
            errors.invalid(path, "the field is required");
            None
        }
    }
}

fn read_flag(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<bool> {
    let said = value.as_bool();
    if said.is_none() {
        errors.invalid(path, format_args!("a boolean is expected, not {}", kind(value)));
    }
    said
}

fn read_service(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Option<ServiceName>> {
    if value.is_null() {
        return Some(None);
    }
    let name = ServiceName::try_from(string(value, path, errors)?);
    name.map(Some).map_err(|rule| errors.invalid(path, rule)).ok()
}

fn read_delay(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Duration> {
    let delay = duration(value, path, errors)?;
    if delay > DELAY_MAX {
        errors.invalid(path, "1h at most");
        return None;
    }
    Some(delay)
}

fn read_concurrent(value: &Value, path: &Path<'_>, errors: &mut Errors) -> Option<Option<u32>> {
    if value.is_null() {
        return Some(None);
    }
    let most = integer(value, path, errors, 1, CONCURRENT_MAX)?;
    Some(u32::try_from(most).ok())
}
