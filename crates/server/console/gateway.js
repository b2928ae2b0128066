// What the console asks the member for: its state, and the API's read-only methods through the JSON gateway.

// What the member, or etcd's rules, answered instead.
export class Refusal extends Error {
  constructor(text, code) {
    super(text);
    this.name = "Refusal";
    this.code = code;
  }
}

// gRPC's numbers of what a user can do something about.
export const OUT_OF_RANGE = 11;
const UNAUTHENTICATED = 16;
const NO_USER = "etcdserver: user name is empty";

export class Gateway extends EventTarget {
  // Never stored: it goes with the page.
  #token = null;
  user = null;

  get #headers() {
    return this.#token ? { Authorization: this.#token } : {};
  }

  async state(since, signal) {
    const answer = await fetch(`console/state?since=${since}`, { headers: this.#headers, signal, cache: "no-store" });
    if (!answer.ok) throw new Refusal(`status ${answer.status}`);
    return answer.json();
  }

  // One call; a 64-bit number of the answer is a text.
  async call(path, request) {
    const init = { method: "POST", body: JSON.stringify(request), headers: this.#headers, cache: "no-store" };
    let answer;
    try {
      answer = await fetch(`v3/${path}`, init);
    } catch {
      throw new Refusal("the member cannot be reached");
    }
    const body = await answer.json().catch(() => null);
    if (answer.ok && body) return body;
    const refusal = new Refusal(body?.error ?? `status ${answer.status}`, body?.code);
    if (refusal.code === UNAUTHENTICATED && this.#token) this.signOut();
    throw refusal;
  }

  async signIn(name, password) {
    this.#token = null;
    const { token } = await this.call("auth/authenticate", { name, password });
    [this.#token, this.user] = [token, name];
    this.dispatchEvent(new Event("user"));
  }

  signOut() {
    [this.#token, this.user] = [null, null];
    this.dispatchEvent(new Event("user"));
  }
}

// Whether signing in may help.
export const wantsUser = (refusal) => refusal.code === UNAUTHENTICATED || refusal.message.includes(NO_USER) || refusal.message.includes("permission denied");
