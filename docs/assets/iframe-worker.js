/* A page that was opened from disk may not start a worker, which the search needs. Here a hidden frame takes its place:
   the worker's script runs in it, and messages go both ways. */
(function () {
  "use strict";
  if (location.protocol !== "file:") return;

  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      this.onmessage = this.onerror = null;
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      this.frame.contentDocument.open();
      this.frame.contentDocument.write("<!doctype html><body></body>");
      this.frame.contentDocument.close();
      const inside = this.frame.contentWindow;
      inside.postMessage = (data) => this.deliver(this, data);
      inside.importScripts = (...scripts) =>
        scripts.reduce((before, script) => before.then(() => this.load(new URL(script, address).href)), Promise.resolve());
      this.ready = this.load(new URL(address, document.baseURI).href);
    }

    load(script) {
      return new Promise((resolve, reject) => {
        const tag = this.frame.contentDocument.createElement("script");
        tag.src = script;
        tag.onload = resolve;
        tag.onerror = () => reject(new Error("cannot load " + script));
        this.frame.contentDocument.body.append(tag);
      });
    }

    deliver(target, data) {
      setTimeout(() => {
        const event = new MessageEvent("message", { data: structuredClone(data) });
        target.dispatchEvent(event);
        if (typeof target.onmessage === "function") target.onmessage(event);
      });
    }

    postMessage(data) {
      this.ready.then(() => this.deliver(this.frame.contentWindow, data));
    }

    terminate() {
      this.frame.remove();
    }
  };
})();
