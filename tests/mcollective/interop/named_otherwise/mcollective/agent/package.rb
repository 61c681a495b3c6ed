module MCollective
  module Agent
    # Says what it was asked for; nothing is looked at.
    class Package < RPC::Agent
      %w[status update].each do |act|
        action act do
          reply[:ensure] = "#{request[:package]}-1.0"
          reply[:took] = request.data.keys.map(&:to_s).sort - ["process_results"]
        end
      end

      action "count" do
        reply[:output] = 17
      end
    end
  end
end
