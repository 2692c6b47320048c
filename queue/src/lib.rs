//! Everything of the runs that speaks AMQP: topology, publisher, consumers, the dispatcher loop, the sweeper, and the
//! invokers through which a message reaches its function.

mod broker;
mod consumers;
mod dead;
mod dispatcher;
mod handle;
mod invoker;
mod lambda;
mod publisher;
mod sweeper;
mod tenant_queue;
pub mod topology;
mod watch;

pub use broker::{Broker, BrokerError};
pub use dead::{DeadLetter, list as list_dead, replay as replay_dead};
pub use dispatcher::{Dispatcher, Health};
pub use invoker::{Embedded, Invoked, Invoker};
pub use lambda::LambdaInvoker;
pub use publisher::{PublishError, Publisher};
