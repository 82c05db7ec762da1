//! The request that opens the relay's WebSocket: from where on, and what of it, its client wants to hear.

use poem::web::websocket::WebSocket;
use poem::{Endpoint, FromRequest, IntoResponse, Request, Response, Result};

use super::socket::{Patience, Terms, upgrade};
use super::{Target, tenant};
use crate::events::{Filter, Position};
use crate::http::api::Serving;
use crate::http::api::events::kinds;
use crate::http::refusal::Refusal;

pub struct Opening(pub Serving);

impl Endpoint for Opening {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let Target { gateway, collection } = Target::of(&self.0)?;
        let mut filter = Filter::collection(&*collection.name);
        let after = read_query(&request, &mut filter)?;
        let (request, mut body) = request.split();
        let socket = WebSocket::from_request(&request, &mut body)
            .await
            .map_err(|error| Refusal::bad_request(format!("a WebSocket is expected here: {error}")))?;
        let subscription = gateway.events.subscribe(after, filter).await.map_err(Refusal::from)?;
        let terms = Terms {
            collection: collection.name.clone(),
            sockets: self.0.sockets.clone(),
            draining: self.0.draining.clone(),
            patience: Patience::default(),
        };
        Ok(upgrade(socket, subscription, terms).into_response())
    }
}

/// `?after=` a position, `&societe=` a company, `&type=` kinds of events (several with commas, or repeated). Other parameters are
/// taken and left at that.
fn read_query(request: &Request, filter: &mut Filter) -> Result<Option<Position>, Refusal> {
    let mut after = None;
    for (key, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        match &*key {
            "after" => {
                let position = value.parse();
                after = Some(position.map_err(|_| Refusal::bad_request("after: a position is a whole number"))?);
            }
            "societe" => filter.tenant = Some(tenant(&value)?),
            "type" => filter.kinds.extend(kinds(&value)?),
            _ => {}
        }
    }
    Ok(after)
}
