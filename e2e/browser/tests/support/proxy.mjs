// A network between the page and the server that can be cut. It is where the page is told that the server is.
import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Proxy {
  #listener;
  #streams = new Set();
  /** Those of them that come from the server. */
  #answers = new Set();
  #target;
  #isOpen = true;
  /** How many there were. */
  connections = 0;
  /** Bytes that have gone to the page. */
  down = 0;
  /** Bytes a second towards the page; as fast as it goes without. */
  bytesPerSecond = undefined;

  /** One that leads to this server, wherever it is just then. */
  static async to(server) {
    const proxy = new Proxy();
    proxy.#target = server;
    proxy.#listener = createServer((page) => proxy.#accept(page));
    proxy.#listener.listen(0, "127.0.0.1");
    await once(proxy.#listener, "listening");
    return proxy;
  }

  /** `host:port`. */
  get address() {
    return `127.0.0.1:${this.#listener.address().port}`;
  }

  /** Cuts every connection, and lets nobody in. */
  cut() {
    this.#isOpen = false;
    for (const stream of this.#streams) stream.destroy();
  }

  /** Lets everybody in again. */
  open() {
    this.#isOpen = true;
  }

  /** What the server says to those who are there does not come, until it goes on. */
  stall() {
    for (const stream of this.#answers) stream.pause();
  }

  goOn() {
    for (const stream of this.#answers) stream.resume();
  }

  async remove() {
    this.cut();
    this.#listener.close();
    await once(this.#listener, "close");
  }

  #accept(page) {
    if (!this.#isOpen) {
      page.destroy();
      return;
    }
    this.connections += 1;
    const [host, port] = this.#target.address.split(":");
    const server = connect(Number(port), host);
    this.#answers.add(server);
    server.on("close", () => this.#answers.delete(server));
    for (const [from, to] of [[page, server], [server, page]]) {
      this.#streams.add(from);
      from.on("error", () => to.destroy());
      from.on("close", () => {
        this.#streams.delete(from);
        to.destroy();
      });
      from.on("data", (bytes) => this.#pass(from, to, bytes, to === page));
    }
  }

  #pass(from, to, bytes, isDown) {
    if (isDown) this.down += bytes.length;
    const isFull = !to.write(bytes);
    const rest = isDown && this.bytesPerSecond ? (bytes.length / this.bytesPerSecond) * 1_000 : 0;
    if (!isFull && rest === 0) return;
    from.pause();
    const drained = isFull ? once(to, "drain").catch(() => undefined) : undefined;
    setTimeout(async () => {
      await drained;
      from.resume();
    }, rest);
  }
}
