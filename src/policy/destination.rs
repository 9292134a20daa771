//! Whether a request may write where its `Destination` says.

use http::Method;

use super::method::route_for;
use super::paths::{Found, Paths, folded};
use super::{Denied, Route};
use crate::request::{BadDestination, Destination, NormalRequest};

/// Adds what a destination leads to: every reading of it must be permitted for PUT, on a route that
/// sends it to where the request itself goes, as one application sees it.
pub(super) fn look_up(paths: &Paths, request: &NormalRequest, found: &mut Found) {
    let Some(destination) = Destination::read(request.headers(), request.origin()) else {
        return;
    };
    if let Err(bad) = destination.and_then(|destination| add(paths, &destination, found)) {
        found.lost = Some(Denied::Destination(bad));
    }
}

fn add(paths: &Paths, destination: &Destination, found: &mut Found) -> Result<(), BadDestination> {
    let target = destination.target();
    let group = paths.find(target.path());
    let route = group.and_then(|group| route_for(&group.routes, &Method::PUT));
    let route = route.filter(|route| is_one_application(route, &found.route));
    let route = route.ok_or(BadDestination::Forbidden)?;
    let too_many = route.strict_paths && target.is_ambiguous();
    if too_many || !(target.is_utf8() || route.allow.non_utf8) {
        return Err(BadDestination::Forbidden);
    }
    found.must_permit(Some(route));
    for reading in folded(target).flat_map(|reading| paths.routes_of(reading, &Method::PUT)) {
        found.must_permit(Some(reading.ok_or(BadDestination::Forbidden)?));
    }
    Ok(())
}

/// With another prefix the application would take the destination for another of its paths.
fn is_one_application(one: &Route, other: &Route) -> bool {
    one.target == other.target && one.strip_prefix == other.strip_prefix
}
