// What happens in the service, as facts: the layers tell of it and know nobody who listens. The log is one listener
// (event-log.ts). An event holds what a counter needs too (sizes, times, addresses, causes), and nothing that is only text, but
// for a notice. It is made once and never changed afterwards, so that it can be kept.

/** Told of what has happened. Returns at once and never throws. */
export type Emit = (event: CacheEvent) => void;

export type CacheEvent =
  | RequestEvent
  | UploadEvent
  | DownloadEvent
  | NarInfoEvent
  | AheadEvent
  | UpstreamEvent
  | StoreEvent
  | CollectionEvent
  | ScrubEvent
  | Notice;

/** What whoever runs the service should know of its surroundings, where nobody would count it. */
export interface Notice {
  readonly kind: 'notice';
  readonly level: 'info' | 'warn' | 'error';
  readonly text: string;
}

/** How an object was had: it was here, it was fetched for this request, or for another one. */
export type How = 'hit' | 'miss' | 'joined';

/** One request of a client, when it has ended. */
export interface Request {
  readonly kind: 'request';
  /** The client's address. */
  readonly client: string;
  readonly method: string;
  /** The path and query, without what a proxy's absolute URL has before it. */
  readonly target: string;
  /** What it was for; undefined where the path means nothing, or the client may not ask. */
  readonly what: string | undefined;
  /** Undefined if it got none. */
  readonly status: number | undefined;
  /** Undefined where no object was sent or taken. */
  readonly how: How | 'put' | undefined;
  /** Whether the client got the whole answer. */
  readonly whole: boolean;
  /** Of an object's body, as they went out. */
  readonly bytes: number;
  readonly ms: number;
}

type RequestEvent =
  | Request
  /** It could not be answered, and that is for the operator to know. */
  | {
      readonly kind: 'request-failed';
      readonly method: string;
      readonly target: string;
      readonly error: unknown;
    }
  /** Not even the error could be answered. */
  | { readonly kind: 'answer-failed'; readonly error: unknown };

type UploadEvent =
  /** Taken: stored, or here already. A path that is ignored counts too, as its client is told so. */
  | { readonly kind: 'uploaded'; readonly path: string; readonly bytes: number }
  /** A path that is here with other contents, which stay. */
  | { readonly kind: 'upload-ignored'; readonly storePath: string; readonly narHash: string };

type DownloadEvent =
  /** `from`: the upstream that answered first; `bytes`: of the whole, undefined if nobody told. */
  | {
      readonly kind: 'download-begun';
      readonly path: string;
      readonly from: string;
      readonly bytes: number | undefined;
    }
  /** Another request waits for it. */
  | { readonly kind: 'download-joined'; readonly path: string }
  /** It goes on behind the bytes that an earlier one left. */
  | { readonly kind: 'download-resumed'; readonly path: string; readonly at: number; readonly bytes: number }
  /** All of it is here and right. `from`: the upstream that most of it came from. */
  | {
      readonly kind: 'download-ended';
      readonly path: string;
      readonly from: string;
      readonly bytes: number;
      readonly ms: number;
    }
  /** `stopped`: nobody wanted it any more, and what has come is kept. */
  | {
      readonly kind: 'download-failed';
      readonly path: string;
      readonly error: unknown;
      readonly stopped: boolean;
      readonly ms: number;
    }
  /** What came is not what it should be; `from`: all that gave some of it. */
  | {
      readonly kind: 'download-rejected';
      readonly path: string;
      readonly from: readonly string[];
      readonly error: Error;
    }
  /** The whole of it is asked of another, because of what `why` says. */
  | { readonly kind: 'failover'; readonly path: string; readonly to: string; readonly why: string }
  | { readonly kind: 'failover-failed'; readonly path: string; readonly to: string; readonly error: unknown }
  /** A source did not give a part that it was asked for. */
  | { readonly kind: 'part-failed'; readonly error: unknown; readonly again: boolean }
  | { readonly kind: 'parts-in-order'; readonly source: string }
  /** A large NAR of an upstream that codes is had in that manner. Paces in its bytes per millisecond, as far as they are known. */
  | {
      readonly kind: 'manner-chosen';
      readonly source: string;
      readonly manner: 'coded' | 'parts';
      readonly coded: number;
      readonly parts: number | undefined;
    }
  /** A source has something else under that name. */
  | { readonly kind: 'source-unfit'; readonly source: string; readonly problem: string }
  /** A source that was asked by a guess did not say whether it has it. */
  | { readonly kind: 'guess-failed'; readonly error: unknown }
  /** It is served without being stored. `passing`: while it comes, so that its readers bound its pace. */
  | { readonly kind: 'body-unkept'; readonly path: string; readonly why: string; readonly passing: boolean };

type NarInfoEvent =
  /** In the store, and of no use. */
  | { readonly kind: 'narinfo-unusable'; readonly path: string; readonly error: unknown }
  /** An upstream has had it malformed for a while. */
  | { readonly kind: 'narinfo-malformed'; readonly url: string; readonly error: unknown }
  /** None of the upstream's keys has signed it. */
  | { readonly kind: 'narinfo-unsigned'; readonly upstream: string; readonly storePath: string }
  | { readonly kind: 'narinfo-dropped'; readonly path: string; readonly nar: string; readonly why: string }
  | { readonly kind: 'narinfo-unkept'; readonly path: string; readonly why: string }
  /** It would have led to a NAR. */
  | { readonly kind: 'narinfo-unavailable'; readonly hash: string; readonly error: unknown };

type AheadEvent =
  /** Something came that nobody had asked for yet; `bytes` of the body. */
  | { readonly kind: 'ahead-fetched'; readonly what: 'narinfo' | 'nar'; readonly bytes: number }
  /** What becomes of that: somebody has asked for it, or nobody for as long as that is remembered. */
  | {
      readonly kind: 'ahead-settled';
      readonly what: 'narinfo' | 'nar';
      readonly bytes: number;
      readonly used: boolean;
    };

type UpstreamEvent =
  /** One request to it, redirects each on their own, when its answer has begun or it has failed. */
  | {
      readonly kind: 'upstream-request';
      readonly upstream: string;
      /** Undefined if no answer came. */
      readonly status: number | undefined;
      /** Why none came. */
      readonly error: unknown;
      readonly ms: number;
    }
  /** The body of an answer when it has ended: its bytes, content codings undone, and those that came over the line. */
  | {
      readonly kind: 'upstream-body';
      readonly upstream: string;
      readonly bytes: number;
      readonly received: number;
      readonly error: unknown;
    }
  /** It could not say whether it has something. `postponed`: it was not asked. */
  | {
      readonly kind: 'upstream-failed';
      readonly upstream: string;
      readonly error: unknown;
      readonly postponed: boolean;
    }
  /** An upstream, one side of it, or a proxy is believed dead from now on. */
  | { readonly kind: 'breaker-opened'; readonly name: string; readonly error: Error }
  | { readonly kind: 'breaker-closed'; readonly name: string; readonly ms: number }
  /** A proxy has led nowhere lately, or somewhere again. */
  | {
      readonly kind: 'proxy-astray';
      readonly name: string;
      readonly destinations: readonly string[];
      readonly error: Error;
    }
  | { readonly kind: 'proxy-leads'; readonly name: string };

type StoreEvent =
  /** Something damaged was moved `to` a file, or deleted as that was not possible. */
  | {
      readonly kind: 'set-aside';
      readonly path: string;
      readonly reason: string;
      readonly to: string;
      /** Why it was deleted instead. */
      readonly error: unknown;
    }
  /** Something damaged stays where it is. */
  | { readonly kind: 'not-set-aside'; readonly path: string; readonly error: Error }
  /** What is there of a download that broke off is not kept, noted or taken up. */
  | {
      readonly kind: 'beginning-lost';
      readonly path: string;
      readonly step: 'keep' | 'note' | 'take';
      readonly error: unknown;
    }
  /** Whether the disk takes writes; `why`: not. */
  | { readonly kind: 'writable'; readonly folder: string; readonly why: string | undefined };

/** What a collection has found and done. */
export interface Collected {
  /** In the store, before. */
  readonly objects: number;
  readonly bytes: number;
  readonly removedObjects: number;
  readonly removedBytes: number;
  /** Bytes that the limits want and that must stay all the same, whatever the reason. */
  readonly stillTooMuch: number;
  readonly kept: { readonly pushed: number; readonly pinned: number; readonly used: number };
}

type CollectionEvent =
  | { readonly kind: 'counted'; readonly objects: number; readonly bytes: number }
  | { readonly kind: 'count-failed'; readonly error: unknown }
  | { readonly kind: 'collected'; readonly done: Collected; readonly ms: number }
  | { readonly kind: 'collection-failed'; readonly error: unknown }
  /** What can't be read, and so stays. */
  | { readonly kind: 'uncollectable'; readonly objects: number; readonly first: string };

type ScrubEvent =
  /** All was read once. */
  | {
      readonly kind: 'scrubbed';
      readonly objects: number;
      readonly bytes: number;
      readonly findings: number;
      readonly ms: number;
    }
  | { readonly kind: 'scrub-doubt'; readonly label: string; readonly reason: string }
  /** `againMs`: after which it goes on; undefined if it goes on at once. */
  | { readonly kind: 'scrub-failed'; readonly error: unknown; readonly againMs: number | undefined };
