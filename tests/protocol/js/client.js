// Asks a fleet, verifies the answers and talks with a node, by mcshell/wire/PROTOCOL.md alone:
//
//   node client.js ask  HOST:PORT USER PASSCODE CA CERT KEY COLLECTIVE CALLER AGENT ACTION [SECONDS]
//   node client.js talk HOST:PORT USER PASSCODE CA CERT KEY COLLECTIVE CALLER NODE PROTOCOL TURNS
//
// `ask` prints a JSON document for each verified word, `talk` one for the data of each turn of the
// node, in order; the last line says how many messages were refused, and why.
import crypto from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import { pathToFileURL } from 'node:url';
import { Client } from '@stomp/stompjs';

const PREFIX = Buffer.from('mcshell-2 sha256 ');
const WINDOW = 32; // turns that may be on their way
const AGAIN = 1000; // ms after which what was not acknowledged is sent again

const sha256 = (data) => crypto.createHash('sha256').update(data).digest();
const hex = (data) => sha256(data).toString('hex');
const madeId = (kind, caller, nonce) => hex(`${kind}\n${caller}\n${nonce}`).slice(0, 32);
const fresh = () => crypto.randomBytes(16).toString('hex');
const now = () => Date.now() / 1000;
const refuse = (reason) => { throw new Error(reason); };

// --- signatures ---------------------------------------------------------------------------------

// The hash that goes with a key, and how it signs.
function scheme(key) {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'ed25519') return [null, { key }];
  if (type === 'ec' && details.namedCurve === 'prime256v1') return ['sha256', { key }];
  if (type === 'ec' && details.namedCurve === 'secp384r1') return ['sha384', { key }];
  if (type === 'rsa' && details.modulusLength >= 2048) {
    return ['sha256', { key, padding: crypto.constants.RSA_PKCS1_PADDING }];
  }
  return refuse('bad_certificate');
}

const covered = (body) => Buffer.concat([PREFIX, sha256(body)]);

export function seal(document, { key, certificate }) {
  const body = Buffer.from(JSON.stringify(document));
  const [hash, how] = scheme(key);
  const signature = crypto.sign(hash, covered(body), how).toString('base64');
  const headers = { 'mcs-signature': signature, 'mcs-certificate': certificate.raw.toString('base64') };
  return { body, headers };
}

function decode(text, most) {
  if (!text) refuse('unsigned');
  const data = Buffer.from(text, 'base64');
  if (text.length > most || data.toString('base64') !== text) refuse('bad_certificate');
  return data;
}

// Throws unless a body is signed by this node. (A list of what is revoked is not read here.)
export function verify(body, headers, node, ca) {
  const signature = decode(headers['mcs-signature'], 1024);
  let leaf;
  try {
    leaf = new crypto.X509Certificate(decode(headers['mcs-certificate'], 8192));
  } catch (error) {
    refuse(error.message === 'unsigned' ? 'unsigned' : 'bad_certificate');
  }
  if (!leaf.checkIssued(ca) || !leaf.verify(ca.publicKey)) refuse('foreign_ca');
  if (leaf.ca) refuse('bad_certificate');
  if (!(new Date(leaf.validFrom) <= Date.now() && Date.now() <= new Date(leaf.validTo))) {
    refuse('cert_expired');
  }
  const [hash, how] = scheme(leaf.publicKey);
  if (!crypto.verify(hash, covered(body), how, signature)) refuse('bad_signature');
  const names = (leaf.subjectAltName ?? '').split(', ').filter((name) => name.startsWith('URI:'));
  if (names.length !== 1 || !names[0].startsWith('URI:mcshell:node:')) refuse('wrong_kind');
  if (names[0] !== `URI:mcshell:node:${node}`) refuse('wrong_sender');
}

// The document in a message about `id`; what costs little is asked first.
function read(message, kind, id, most) {
  const body = Buffer.from(message.binaryBody);
  if (body.length > most) refuse('too_large');
  let document;
  try {
    document = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch { refuse('not_json'); }
  if (document?.v !== 2 || document.kind !== kind || document.id !== id) refuse('unknown_request');
  return { body, document };
}

// --- the broker ---------------------------------------------------------------------------------

// A TCP socket that stompjs takes for a web socket.
class TcpSocket {
  readyState = 0;
  constructor(place) {
    const [host, port] = place.split(':');
    this.socket = net.connect(Number(port), host, () => { this.readyState = 1; this.onopen(); });
    this.socket.on('data', (data) => this.onmessage({ data: new Uint8Array(data).buffer }));
    this.socket.on('error', (error) => this.onerror?.(error));
    this.socket.on('close', () => { this.readyState = 3; this.onclose({}); });
  }
  send(data) { this.socket.write(typeof data === 'string' ? data : Buffer.from(data)); }
  close() { this.socket.end(); }
}

const quote = (name) => name.replace(/[^a-z0-9._-]/gu,
  (one) => [...Buffer.from(one)].map((byte) => `~${byte.toString(16).padStart(2, '0')}`).join(''));

// A session: a connection that hears its own reply queue.
export class Session {
  constructor(place, user, passcode, ca, cert, key, collective, caller) {
    Object.assign(this, { collective, caller, name: fresh(), refused: {}, hear: () => {} });
    const certificate = new crypto.X509Certificate(fs.readFileSync(cert));
    this.signer = { certificate, key: crypto.createPrivateKey(fs.readFileSync(key)) };
    this.ca = new crypto.X509Certificate(fs.readFileSync(ca));
    this.stomp = new Client({
      webSocketFactory: () => new TcpSocket(place),
      connectHeaders: { host: '/', login: user, passcode },
      reconnectDelay: 0,
      heartbeatIncoming: 0,
      heartbeatOutgoing: 0,
      forceBinaryWSFrames: true,
    });
  }

  open() {
    return new Promise((resolve, reject) => {
      this.stomp.onStompError = (frame) => reject(new Error(frame.headers.message));
      this.stomp.onConnect = ({ headers }) => {
        this.rabbit = headers.server.startsWith('RabbitMQ/');
        const queue = `mcs.${this.collective}.reply.${quote(this.caller)}.${this.name}`;
        const durable = { durable: 'true', 'auto-delete': 'false', 'x-queue-name': queue };
        const receipt = fresh();
        this.stomp.watchForReceipt(receipt, resolve);
        this.stomp.subscribe(`/${this.rabbit ? 'topic' : 'queue'}/${queue}`, (one) => this.take(one),
          { ack: 'auto', receipt, ...(this.rabbit ? durable : {}) });
      };
      this.stomp.activate();
    });
  }

  take(message) {
    try {
      this.hear(message);
    } catch (reason) {
      this.refused[reason.message] = (this.refused[reason.message] ?? 0) + 1;
    }
  }

  // Sign a document and send it, good for so many seconds; returns its digest.
  send(destination, document, seconds) {
    const { body, headers } = seal(document, this.signer);
    const life = this.rabbit ? { expiration: `${seconds * 1000}` } : { expires: `${Date.now() + seconds * 1000}` };
    this.stomp.publish({ destination, binaryBody: body, headers: { ...headers, ...life } });
    return hex(body);
  }

  // Ask all that have the agent; `each` gets every verified word.
  ask(agent, action, data, each) {
    const { collective, caller, name: session } = this;
    const nonce = fresh();
    const id = madeId('request', caller, nonce);
    const filter = { fact: [], class: [], agent: [agent], identity: [], compound: [] };
    const request = {
      v: 2, kind: 'request', id, nonce, collective, via: 'broadcast', identity: null, pool: null,
      agent, action, data, filter, caller, session, created: now(), expires: now() + 60,
    };
    this.hear = (message) => {
      const { body, document } = read(message, 'reply', id, 1 << 20);
      verify(body, message.headers, document.sender, this.ca);
      if (document.digest !== asked) refuse('unbound');
      each(document);
    };
    const asked = this.send(`/topic/mcs.${collective}.broadcast`, request, 60);
  }

  talk(node, protocol, data, each) {
    return new Conversation(this, node, protocol, data, each);
  }
}

// --- conversations ------------------------------------------------------------------------------

// Turns in order, each exactly once: what is not acknowledged is signed and sent again.
export class Conversation {
  constructor(session, node, protocol, data, each) {
    const { caller, collective } = session;
    this.nonce = fresh();
    this.head = {
      v: 2, kind: 'turn', id: madeId('turn', caller, this.nonce), protocol, caller, node, collective,
      session: session.name,
    };
    Object.assign(this, { session, each, sent: 0, limit: 1, got: 0, waiting: [], opens: new Set() });
    this.ended = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    session.hear = (message) => this.heard(message);
    this.timer = setInterval(() => this.flush(), AGAIN / 4);
    this.put('open', data);
  }

  // Send a turn as soon as there is room for it.
  put(word, data = null) {
    this.waiting.push({ word, data, sequence: (this.sent += 1), at: 0 });
    this.flush();
  }

  close() {
    if (!this.closing) { this.closing = true; this.put('close'); }
  }

  // Send what there is room for, and again what was not acknowledged in time.
  flush() {
    for (const turn of this.waiting) {
      if (turn.sequence > this.limit) break;
      if (Date.now() - turn.at < AGAIN) continue;
      turn.at = Date.now();
      this.say(turn.word, turn.sequence, turn.data);
    }
  }

  say(word, sequence, data) {
    const first = word === 'open';
    const [digest = null] = first ? [] : this.opens;
    const turn = {
      ...this.head, word, sequence, ack: this.got, limit: this.got + WINDOW, created: now(), data,
      nonce: first ? this.nonce : null, digest,
    };
    const place = `/queue/mcs.${this.head.collective}.node.${quote(this.head.node)}`;
    const signed = this.session.send(place, turn, 60);
    if (first) this.opens.add(signed);
  }

  heard(message) {
    const { body, document: turn } = read(message, 'turn', this.head.id, 256 * 1024);
    verify(body, message.headers, this.head.node, this.session.ca);
    if (Object.keys(this.head).some((name) => turn[name] !== this.head[name])) refuse('malformed');
    if (!this.opens.has(turn.digest)) refuse('unbound');
    this.opens = new Set([turn.digest]); // the one that the node has got
    if (turn.word === 'reset') return this.end(new Error(`${turn.data.state}: ${turn.data.reason}`));
    this.waiting = this.waiting.filter(({ sequence }) => sequence > turn.ack);
    this.limit = Math.max(this.limit, turn.limit);
    if (turn.sequence === this.got + 1) {
      this.got += 1;
      if (turn.word === 'turn') this.each(turn.data);
      if (turn.word === 'close') { this.closed = true; this.close(); }
    }
    this.flush();
    if (turn.sequence > 0) this.say('ack', 0, null); // also for one that was got before
    if (this.closed && !this.waiting.length) this.end();
  }

  end(error) {
    clearInterval(this.timer);
    if (error) this.reject(error); else this.resolve();
  }
}

// --- the command line ---------------------------------------------------------------------------

async function main([command, ...words]) {
  const session = new Session(...words.splice(0, 8));
  await session.open();
  const print = (document) => console.log(JSON.stringify(document));
  if (command === 'ask') {
    const [agent, action, seconds = '5'] = words;
    session.ask(agent, action, {}, print);
    await new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });
  } else {
    const [node, protocol, turns] = words;
    let left = Number(turns);
    const talk = session.talk(node, protocol, null, (data) => {
      print(data);
      left -= 1;
      if (!left) talk.close();
    });
    for (let number = 1; number <= Number(turns); number += 1) talk.put('turn', { number });
    await talk.ended;
  }
  print({ refused: session.refused });
  await session.stomp.deactivate();
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await main(process.argv.slice(2));
