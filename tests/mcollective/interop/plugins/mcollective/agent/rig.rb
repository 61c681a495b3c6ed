module MCollective
  module Agent
    class Rig < RPC::Agent
      KINDS = {
        "integers" => [0, -1, 2**30, 2**31, 2**32 + 1, -2**35, 2**62, 2**63, 2**64, -2**80, 10**40],
        "floats"   => [0.0, -0.5, 0.1, 1e-7, 1.0e22, 3.141592653589793, 1e300],
        "text"     => ["Zürich", "日本語", "\u{1F600}", "", "tab\tline\n\"quoted\"", "a\\b", "é" * 300],
        "nested"   => {"a" => {"b" => {"c" => [1, [2, [3, {"d" => nil}]]]}}, "t" => true, "f" => false},
        "empty"    => {"list" => [], "hash" => {}, "nil" => nil, "text" => ""},
        "symbols"  => {:a => :b, "list" => [:x, "x"]},
        "objects"  => {"at" => Time.at(0), "who" => Struct.new("Who", :name).new("x")}
      }

      action "echo" do
        inputs = request.data.reject { |k, _| k.to_s == "process_results" }
        reply[:seen] = inputs
        reply[:classes] = inputs.map { |k, v| "#{k.class}:#{k}=#{v.class}" }.sort
        reply[:length] = request[:msg].to_s.length
        reply[:bucket] = number % 3
      end

      action "work" do
        seconds = request[:seconds].to_f
        sleep seconds
        reply[:slept] = seconds
        if request[:code].to_i > 0 && (!request[:odd] || number.odd?)
          raise ArgumentError, "asked to raise" if request[:raise]
          reply.fail! "asked to fail with #{request[:code]}", request[:code].to_i
        end
      end

      action "blob" do
        n = request[:bytes].to_i
        reply[:size] = n
        reply[:blob] = request[:text] ? "é" * (n / 2) : ((0..255).to_a * (n / 256 + 1)).take(n).pack("C*")
      end

      action "values" do
        reply[:values] = KINDS[request[:kind]]
      end

      private

      def number
        config.identity[/\d+/].to_i
      end
    end
  end
end
